// Generated from openapi/server.json by `npm run generate`; do not edit.
export interface paths {
    "/api/v1/agents": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Agents, with what they see, lag and lost. */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["AgentsAnswer"];
                    };
                };
                /** @description no token, or one that is not known */
                401: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
                /** @description the token's role may not: it needs viewer */
                403: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/alerts": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Alerts of a range, newest first. Pending ones are held in memory only and have no history. */
        get: {
            parameters: {
                query?: {
                    /** @description Only of this detector. */
                    detector?: string;
                    /** @description Open at or after this moment; `-1d` if absent. */
                    from?: string;
                    /** @description Most rows. */
                    limit?: number;
                    /** @description Only in this state: `pending`, `firing` or `resolved`; for incidents `open` or `closed`. */
                    state?: string;
                    /** @description Open before this moment; now if absent. */
                    to?: string;
                };
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["AlertsAnswer"];
                    };
                };
                400: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
                /** @description no token, or one that is not known */
                401: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
                /** @description the token's role may not: it needs viewer */
                403: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/alerts/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** One alert. */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    id: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Alert"];
                    };
                };
                /** @description no token, or one that is not known */
                401: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
                /** @description the token's role may not: it needs viewer */
                403: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
                404: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/catalogue": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Lists dimensions and measures. */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Catalogue"];
                    };
                };
                /** @description no token, or one that is not known */
                401: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
                /** @description the token's role may not: it needs viewer */
                403: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/coverage": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** How much of what should have been seen in a range was seen. */
        get: {
            parameters: {
                query?: {
                    /**
                     * @description Start, inclusive: RFC 3339, `now` or a distance from now such as `-15m`.
                     * @example -15m
                     */
                    from?: string;
                    /**
                     * @description End, exclusive; now if absent.
                     * @example now
                     */
                    to?: string;
                };
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Coverage"];
                    };
                };
                400: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
                /** @description no token, or one that is not known */
                401: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
                /** @description the token's role may not: it needs viewer */
                403: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/diagnose": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** The verdict on a range, with its evidence. */
        get: {
            parameters: {
                query?: {
                    /** @description Start, inclusive; `-15m` if absent. Ten minutes before it serve as the baseline. */
                    from?: string;
                    /** @description End, exclusive; now if absent. */
                    to?: string;
                    /** @description Only trouble that touches this workload. */
                    workload?: string;
                };
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Verdict"];
                    };
                };
                400: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
                /** @description no token, or one that is not known */
                401: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
                /** @description the token's role may not: it needs viewer */
                403: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/dns/names": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Names that clients had answers of DNS about, the most asked first, and what came of them. */
        get: {
            parameters: {
                query?: {
                    /**
                     * @description Start: RFC 3339, `now` or a distance from now such as `-15m`, which it is if absent. Minutes are taken whole.
                     * @example -15m
                     */
                    from?: string;
                    /** @description So many names at most: 50 if absent, at most 1,000. */
                    limit?: number;
                    /**
                     * @description End; now if absent.
                     * @example now
                     */
                    to?: string;
                    /** @description Of this workload alone. */
                    workload?: string;
                };
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Asked"];
                    };
                };
                400: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
                /** @description no token, or one that is not known */
                401: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
                /** @description the token's role may not: it needs viewer */
                403: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/edges": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Asks for edges, with the query in the address. */
        get: {
            parameters: {
                query?: {
                    /**
                     * @description Compare with the range of the same length that ended so long earlier (`1h`, `1d`).
                     * @example 1d
                     */
                    compare?: string;
                    /**
                     * @description SQL expression over dimensions and measures.
                     * @example dest.workload = 'cartservice'
                     */
                    filter?: string;
                    /**
                     * @description Start, inclusive: RFC 3339, `now` or a distance from now; `-15m` if absent.
                     * @example -15m
                     */
                    from?: string;
                    /**
                     * @description Dimension names; the pairs of workloads if absent, one row if empty.
                     * @example source.workload,dest.workload
                     */
                    group_by?: string;
                    /** @description Also loopback and Edgescope's own traffic. */
                    include_own?: boolean;
                    /** @description Most rows. */
                    limit?: number;
                    /**
                     * @description Measure names.
                     * @example tcp.bytes,tcp.rtt.p95
                     */
                    measures?: string;
                    /**
                     * @description A measure or dimension; `-` in front sorts descending.
                     * @example -tcp.bytes
                     */
                    sort?: string;
                    /**
                     * @description Length of a step of the series (`10s`, `1m`); totals only if absent.
                     * @example 1m
                     */
                    step?: string;
                    /** @description End, exclusive; now if absent. */
                    to?: string;
                };
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["EdgesAnswer"];
                    };
                };
                400: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
                /** @description no token, or one that is not known */
                401: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
                /** @description the token's role may not: it needs viewer */
                403: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
                429: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        put?: never;
        /** Asks for edges, with the query in the body. */
        post: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody: {
                content: {
                    "application/json": components["schemas"]["EdgesRequest"];
                };
            };
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["EdgesAnswer"];
                    };
                };
                400: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
                /** @description no token, or one that is not known */
                401: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
                /** @description the token's role may not: it needs viewer */
                403: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
                429: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/incidents": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Incidents of a range, newest first, each with its last verdict. */
        get: {
            parameters: {
                query?: {
                    /** @description Only of this detector. */
                    detector?: string;
                    /** @description Open at or after this moment; `-1d` if absent. */
                    from?: string;
                    /** @description Most rows. */
                    limit?: number;
                    /** @description Only in this state: `pending`, `firing` or `resolved`; for incidents `open` or `closed`. */
                    state?: string;
                    /** @description Open before this moment; now if absent. */
                    to?: string;
                };
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["IncidentsAnswer"];
                    };
                };
                400: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
                /** @description no token, or one that is not known */
                401: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
                /** @description the token's role may not: it needs viewer */
                403: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/incidents/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** One incident, with its alerts and verdict. */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path: {
                    id: string;
                };
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["IncidentAnswer"];
                    };
                };
                /** @description no token, or one that is not known */
                401: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
                /** @description the token's role may not: it needs viewer */
                403: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
                404: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/map": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** The graph of workloads. */
        get: {
            parameters: {
                query?: {
                    /** @description SQL expression over dimensions and measures. */
                    filter?: string;
                    /** @description Start, inclusive; `-15m` if absent. */
                    from?: string;
                    /** @description Also loopback and Edgescope's own traffic. */
                    include_own?: boolean;
                    /** @description Most edges, or workloads. */
                    limit?: number;
                    /** @description End, exclusive; now if absent. */
                    to?: string;
                };
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["MapAnswer"];
                    };
                };
                400: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
                /** @description no token, or one that is not known */
                401: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
                /** @description the token's role may not: it needs viewer */
                403: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/sql": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Answers a SELECT over the tables, within limits of time, memory and rows. */
        post: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody: {
                content: {
                    "application/json": components["schemas"]["SqlRequest"];
                };
            };
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["SqlAnswer"];
                    };
                };
                400: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
                /** @description no token, or one that is not known */
                401: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
                /** @description the token's role may not: it needs editor */
                403: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
                422: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/status": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** How Edgescope is, and the open incident. */
        get: {
            parameters: {
                query?: never;
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Status"];
                    };
                };
                /** @description no token, or one that is not known */
                401: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
                /** @description the token's role may not: it needs viewer */
                403: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/why": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** What an address is called at a moment, why, and who said so. */
        get: {
            parameters: {
                query: {
                    /**
                     * @description An address, with the port that it serves where several workloads share it: `10.0.0.5`, `10.0.0.5:443`, `[fd00::5]:443`.
                     * @example 10.0.0.5:443
                     */
                    address: string;
                    /** @description When: RFC 3339 or a distance from now such as `-1h`; now if absent. */
                    at?: string;
                };
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["Why"];
                    };
                };
                400: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
                /** @description no token, or one that is not known */
                401: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
                /** @description the token's role may not: it needs viewer */
                403: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/workloads": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** All workloads, with what they send and get. */
        get: {
            parameters: {
                query?: {
                    /** @description SQL expression over dimensions and measures. */
                    filter?: string;
                    /** @description Start, inclusive; `-15m` if absent. */
                    from?: string;
                    /** @description Also loopback and Edgescope's own traffic. */
                    include_own?: boolean;
                    /** @description Most edges, or workloads. */
                    limit?: number;
                    /** @description End, exclusive; now if absent. */
                    to?: string;
                };
                header?: never;
                path?: never;
                cookie?: never;
            };
            requestBody?: never;
            responses: {
                200: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["WorkloadsAnswer"];
                    };
                };
                400: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
                /** @description no token, or one that is not known */
                401: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
                /** @description the token's role may not: it needs viewer */
                403: {
                    headers: {
                        [name: string]: unknown;
                    };
                    content: {
                        "application/json": components["schemas"]["ErrorBody"];
                    };
                };
            };
        };
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
}
export type webhooks = Record<string, never>;
export interface components {
    schemas: {
        /** @description A pair of workloads that is hit. */
        Affected: {
            dest: string;
            /**
             * Format: double
             * @description 0..=1, the worst first.
             */
            impact: number;
            source: string;
            symptom: string;
        };
        /** @description What is known of one agent. */
        AgentRecord: {
            /** @default  */
            agent_id: string;
            /**
             * @description Changes at every boot of the node.
             * @default
             */
            boot_id: string;
            /**
             * Format: double
             * @description Server clock minus agent clock, in seconds.
             * @default 0
             */
            clock_offset_s: number;
            /**
             * @description Its last batch was over a second away from when it said that it sent it.
             * @default false
             */
            clock_suspect: boolean;
            /** @default  */
            environment: string;
            /**
             * Format: date-time
             * @default null
             */
            first_seen: string | null;
            /**
             * @description `hook: attached` or `hook: refused, reason`.
             * @default []
             */
            hooks: string[];
            /**
             * Format: int32
             * @description Seconds of its windows.
             * @default 0
             */
            interval_s: number;
            /** @default  */
            kernel: string;
            /**
             * @description Packets that its node's kernel dropped since this server started, by the kernel's reason.
             * @default {}
             */
            kernel_drops: {
                [key: string]: number;
            };
            /**
             * Format: date-time
             * @default null
             */
            last_seen: string | null;
            /**
             * Format: date-time
             * @description End of the last window that is durable here.
             * @default null
             */
            last_window_end: string | null;
            /**
             * Format: date-time
             * @description When it said that it ends; absent since it greeted again.
             * @default null
             */
            left_at: string | null;
            /**
             * @description Everything it lost since this server started, by reason.
             * @default {}
             */
            losses: {
                [key: string]: number;
            };
            /** @default  */
            node: string;
            /** @default  */
            region: string;
            /**
             * @description Its round-trip times are smoothed ones, sampled at window ends: its kernel gives no sample a round trip.
             * @default false
             */
            rtt_sampled: boolean;
            /** @default  */
            scope: string;
            /**
             * Format: int64
             * @description Highest durable sequence.
             * @default 0
             */
            sequence: number;
            /**
             * @description Its readings come from a simulator, not from a kernel.
             * @default false
             */
            simulated: boolean;
            /**
             * Format: int64
             * @description Sockets that it watched in its last window.
             * @default 0
             */
            sockets: number;
            /** @default  */
            version: string;
            /** @default  */
            zone: string;
        };
        /** @description The agents that are known. */
        AgentsAnswer: {
            agents: components["schemas"]["AgentRecord"][];
        };
        /** @description One firing of a detector on one group of edges. */
        Alert: {
            /** Format: double */
            baseline?: number | null;
            /**
             * Format: int32
             * @description Seconds of past that the baseline rests on.
             */
            baseline_s: number;
            detector: string;
            /**
             * Format: date-time
             * @description When it began to fire.
             */
            fired_at?: string | null;
            /** @description Stable: detector, key and start. */
            id: string;
            incident?: string | null;
            /** @description What it fires on: dimension name to value. */
            labels: {
                [key: string]: string;
            };
            /** Format: date-time */
            resolved_at?: string | null;
            /**
             * Format: int64
             * @description Opportunities behind the value: segments, attempts, socket-seconds.
             */
            samples: number;
            /** @description Measure that the detector looks at. */
            signal: string;
            /**
             * Format: date-time
             * @description Start of the first bad window.
             */
            since: string;
            state: components["schemas"]["AlertState"];
            /** @description One sentence with the numbers. */
            summary: string;
            /** Format: double */
            threshold: number;
            /**
             * Format: double
             * @description Latest value, in shown units.
             */
            value: number;
        };
        /** @description Alerts of a range, newest first. */
        AlertsAnswer: {
            alerts: components["schemas"]["Alert"][];
            /** @description Before the limit. */
            total: number;
        };
        /**
         * @description Life of an alert: pending (seen, not yet for long enough), firing, resolved.
         * @enum {string}
         */
        AlertState: "pending" | "firing" | "resolved";
        /**
         * @description Is it the network?
         * @enum {string}
         */
        Answer: "network" | "not_network" | "ambiguous" | "insufficient_evidence";
        /** @description Names that clients had answers about in a range of time. */
        Asked: {
            /** Format: date-time */
            from: string;
            /**
             * Format: date-time
             * @description Nothing is remembered of before; this server remembers an hour, of the agents that speak to it.
             */
            kept_from: string;
            /** @description The most answers first. */
            names: components["schemas"]["AskedName"][];
            /** @description Of how many these are the first. */
            names_total: number;
            /** Format: date-time */
            to: string;
        };
        /** @description Answers about one name that reached one workload. */
        AskedName: {
            /**
             * Format: int64
             * @description Answers of any code.
             */
            answers: number;
            /**
             * Format: int64
             * @description Answers with any other error.
             */
            failures: number;
            /** @description In lower case, without the final dot; empty: all that are not told apart, since there were too many. */
            name: string;
            namespace: string;
            /**
             * Format: int64
             * @description Answers that there is no such name.
             */
            nxdomain: number;
            /** @description Who asked. */
            workload: string;
        };
        /** @description Every dimension, signal and derived measure. */
        Catalogue: {
            derived: components["schemas"]["CatalogueDerived"][];
            dimensions: string[];
            signals: components["schemas"]["CatalogueSignal"][];
        };
        /** @description A quotient of sums. */
        CatalogueDerived: {
            brief: string;
            denominator: string[];
            name: string;
            /** @description Sums above the line; a minus in front takes away. */
            numerator: string[];
            symbol: string;
            unit: components["schemas"]["Unit"];
        };
        /** @description One measured series. */
        CatalogueSignal: {
            brief: string;
            ends: components["schemas"]["Ends"];
            kind: components["schemas"]["Kind"];
            /** @description The measures that can be asked of it. */
            measures: string[];
            name: string;
            /** @description UCUM symbol of the shown unit. */
            symbol: string;
            unit: components["schemas"]["Unit"];
        };
        /** @description The word of an agent, or of Kubernetes, on who has an address. */
        Claim: {
            /** @description The agent's id; `kubernetes/UID` where the API told of a pod. */
            agent: string;
            /** Format: date-time */
            from: string;
            /** @description It holds on, as far as is known. */
            open: boolean;
            owner: components["schemas"]["EndDims"];
            /**
             * Format: int32
             * @description 0: the whole address.
             */
            port: number;
            /** @description Several workloads share the address; `owner` is the node that holds it. */
            shared: boolean;
            /**
             * Format: date-time
             * @description The last moment at which it was said so.
             */
            until: string;
        };
        /**
         * @description What kind of trouble.
         * @enum {string}
         */
        Class: "loss" | "latency" | "unreachable" | "policy" | "dns" | "service_down" | "service_slow" | "receiver_limited" | "demand_drop" | "none";
        /** @description An edge or group of edges that is fine, and so clears what it passes through. */
        Control: {
            /** Format: int64 */
            bad: number;
            /** Format: int64 */
            edges: number;
            what: string;
            why: string;
        };
        /** @description Counts of what runs now. */
        Counts: {
            agents: number;
            alerts_firing: number;
            alerts_pending: number;
            /** @description Pairs of workloads that sent bytes in the last five minutes; own traffic and loopback left out. */
            edges: number;
            incidents_open: number;
            workloads: number;
        };
        /** @description How much of what should have been seen was seen. */
        Coverage: {
            agents_expected: number;
            agents_reporting: number;
            /**
             * Format: double
             * @description Agent windows received ÷ agent windows expected, 0..=1.
             */
            fraction: number;
            /** @description Agents that said that they end, and when, within the day before the range's end; those that came back are not among them. */
            left?: {
                [key: string]: string;
            };
            /** @description Everything lost in the range, by reason. */
            losses: {
                [key: string]: number;
            };
            /** @description Agents that are silent now, with the moment of their last window. */
            silent: {
                [key: string]: string;
            };
        };
        /** @description Who did it. For pairs (`zone_pair`, `node_pair`, `edge`) `name` is where the bytes come from and `peer` where they go. */
        Culprit: {
            name: string;
            peer?: string | null;
            scope: components["schemas"]["Scope"];
        };
        /** @description One group of edges. */
        EdgeRow: {
            /** @description Of each measure that asks for `.buckets`, in their order: the histogram over the whole range, in stored units (microseconds); empty: no row had it. */
            buckets?: components["schemas"]["Histogram"][];
            /** @description The same over the compare range; empty without one. */
            compare?: (number | null)[];
            /** @description Values of `group_by`, in its order; empty string: unknown. */
            key: string[];
            /** @description By measure, then by step; empty without a step. */
            series?: (number | null)[][];
            /** @description Over the whole range, in the order of `measures`, in shown units; null: no row had it. */
            totals: (number | null)[];
        };
        /** @description A table of edges and how much of what should have been seen was seen. */
        EdgesAnswer: components["schemas"]["EdgeTable"] & {
            coverage: components["schemas"]["Coverage"];
            /** @description Loopback and Edgescope's own traffic are left out. */
            own_hidden: boolean;
        };
        /** @description A query in a body: [`EdgeQuery`] written out, since what is flattened cannot refuse unknown fields. */
        EdgesRequest: {
            /**
             * Format: date-time
             * @description Totals of the same groups over another range, for comparison.
             */
            compare_from?: string | null;
            /** Format: date-time */
            compare_to?: string | null;
            /** @description SQL expression over dimension and measure names, such as `source.zone = 'a' AND tcp.retrans > 0`. */
            filter?: string | null;
            /**
             * Format: date-time
             * @description Inclusive.
             */
            from: string;
            /** @description Dimension names; empty: one group of all edges. */
            group_by?: string[];
            /** @description Also loopback and Edgescope's own traffic. */
            include_own?: boolean;
            /** @description Most groups returned; `groups_total` tells how many there are. */
            limit?: number | null;
            /** @description Measure names (see the catalogue). */
            measures: string[];
            /** @description A measure or dimension name; `-` in front sorts descending. */
            sort?: string | null;
            /**
             * Format: int32
             * @description Seconds of one step of the series; absent: totals only.
             */
            step_s?: number | null;
            /**
             * Format: date-time
             * @description Exclusive.
             */
            to: string;
        };
        /** @description The answer: one row a group. */
        EdgeTable: {
            /**
             * Format: date-time
             * @description The range that was counted and that rates divide by: the one asked for, with the windows that it cuts in it whole. Pods and addresses are kept for
             *     less long than the rest: where they are asked for, it begins with what is kept of them.
             */
            from: string;
            group_by: string[];
            /** @description Groups before the limit. */
            groups_total: number;
            measures: string[];
            /**
             * Format: int32
             * @description Seconds of the windows that answered: 10 or 60.
             */
            resolution_s: number;
            rows: components["schemas"]["EdgeRow"][];
            /** Format: int32 */
            step_s?: number | null;
            /** @description Start of each step; empty without a step. */
            steps: string[];
            /** Format: date-time */
            to: string;
        };
        /** @description One end of an edge. An empty string is an unknown value. */
        EndDims: {
            /** @default  */
            environment: string;
            /** @default  */
            image: string;
            /**
             * @description The address, where the name is only that or a prefix; ten-second rows only.
             * @default
             */
            ip: string;
            /** @default  */
            namespace: string;
            /** @default  */
            node: string;
            /**
             * @description The endpoint's name; ten-second rows only.
             * @default
             */
            pod: string;
            /** @default  */
            process: string;
            /** @default  */
            region: string;
            /**
             * @description How the name was found: rule, systemd, process, directory, prefix, ip, …
             * @default
             */
            resolution_type: string;
            /** @default  */
            workload: string;
            /** @default  */
            zone: string;
        };
        /**
         * @description Which end of an edge can see the signal.
         * @enum {string}
         */
        Ends: "sender" | "receiver" | "both" | "each";
        /** @description What went wrong, and what to do. */
        ErrorBody: {
            /** @description One sentence, with the wrong value. */
            error: string;
            /** @description The parameter or field that is wrong. */
            field?: string | null;
            /** @description What to do about it. */
            remedy?: string | null;
        };
        /** @description One number that speaks for the verdict. */
        Evidence: {
            /** Format: double */
            baseline?: number | null;
            /** Format: double */
            ratio?: number | null;
            /** Format: int64 */
            samples: number;
            /** @description Where it was measured, in words: `edges through zone us-east-1b`. */
            scope: string;
            signal: string;
            /** @description The statistical test or rule and its result, in words. */
            test: string;
            /** Format: double */
            value?: number | null;
        };
        /** @description Numbers of an edge or of one direction of a workload. Null: not measured. */
        Flow: {
            /** Format: double */
            bytes?: number | null;
            /** Format: double */
            bytes_per_s?: number | null;
            /** Format: double */
            connect_failure_rate?: number | null;
            /** Format: double */
            retrans_rate?: number | null;
            /** Format: double */
            rtt_p50_s?: number | null;
            /** Format: double */
            rtt_p95_s?: number | null;
            /** Format: double */
            stalled_share?: number | null;
        };
        /** @description The first sentence. */
        Headline: {
            state: components["schemas"]["HeadlineState"];
            text: string;
        };
        /**
         * @description What the banner says.
         * @enum {string}
         */
        HeadlineState: "network" | "not_network" | "ambiguous" | "cannot_say" | "deciding" | "clear" | "no_data";
        /**
         * @description Health of an edge, as the detectors see it.
         * @enum {string}
         */
        Health: "ok" | "unknown" | "warning" | "bad";
        /** @description A sparse histogram: buckets ascending, counts above zero. */
        Histogram: {
            buckets: [
                number,
                number
            ][];
        };
        /** @description One explanation that was weighed. */
        Hypothesis: {
            class: components["schemas"]["Class"];
            culprit: components["schemas"]["Culprit"];
            /** Format: int64 */
            edges: number;
            /** Format: int64 */
            edges_bad: number;
            /**
             * Format: double
             * @description Natural logarithm of the likelihood ratio against "nothing is wrong".
             */
            log_likelihood: number;
            /** @description Why it was taken, or cleared. */
            why: string;
        };
        /** @description Alerts that share a component, with one verdict. */
        Incident: {
            /** @description Ids of its alerts. */
            alerts: string[];
            /** Format: date-time */
            closed_at?: string | null;
            /** @description What they share, as far as known before the verdict. */
            component: components["schemas"]["Culprit"];
            /**
             * Format: date-time
             * @description When the verdict was last made.
             */
            diagnosed_at?: string | null;
            id: string;
            /** Format: date-time */
            opened_at: string;
            /** Format: date-time */
            since: string;
            verdict?: components["schemas"]["Verdict"] | null;
        };
        /** @description An incident with its alerts. */
        IncidentAnswer: components["schemas"]["Incident"] & {
            alerts_full: components["schemas"]["Alert"][];
        };
        /** @description Incidents of a range, newest first. */
        IncidentsAnswer: {
            incidents: components["schemas"]["Incident"][];
            /** @description Before the limit. */
            total: number;
        };
        /**
         * @description How values of a signal merge.
         * @enum {string}
         */
        Kind: "sum" | "max" | "min" | "histogram";
        /** @description The graph of workloads. */
        MapAnswer: {
            coverage: components["schemas"]["Coverage"];
            /** @description Most bytes first. */
            edges: components["schemas"]["MapEdge"][];
            /** @description Edges before the limit. */
            edges_total: number;
            /** Format: date-time */
            from: string;
            nodes: components["schemas"]["MapNode"][];
            /** Format: date-time */
            to: string;
        };
        /** @description One directed edge. */
        MapEdge: components["schemas"]["Flow"] & {
            dest: string;
            health: components["schemas"]["Health"];
            /** @description Id of the node that the bytes come from. */
            source: string;
        };
        /** @description One workload. */
        MapNode: {
            health: components["schemas"]["Health"];
            /** @description `namespace/workload`, or the workload alone. */
            id: string;
            namespace: string;
            /** @description How its name was found. */
            resolution_types: string[];
            workload: string;
            zones: string[];
        };
        /** @description How the detectors are doing. */
        Rounds: {
            /** @description Why the newest round failed; absent if it did not. */
            error?: string | null;
            /**
             * Format: date-time
             * @description End of the last round that succeeded.
             */
            last_at?: string | null;
            /** Format: double */
            last_took_s?: number | null;
        };
        /**
         * @description What kind of component is guilty.
         * @enum {string}
         */
        Scope: "node" | "zone" | "zone_pair" | "node_pair" | "workload" | "pod" | "edge" | "dns" | "none";
        /** @description Answer of a free SQL query. */
        SqlAnswer: {
            columns: string[];
            /** @description One array a row, in the order of `columns`. */
            rows: unknown[][];
            /** @description The answer had more rows than the limit. */
            truncated: boolean;
        };
        /** @description A SELECT. */
        SqlRequest: {
            sql: string;
        };
        /** @description The whole of it. */
        Status: {
            counts: components["schemas"]["Counts"];
            /** @description Of the last five minutes. */
            coverage: components["schemas"]["Coverage"];
            detection: components["schemas"]["Rounds"];
            headline: components["schemas"]["Headline"];
            incident?: components["schemas"]["Incident"] | null;
            /** @description Open to all beyond loopback, on purpose. */
            insecure: boolean;
            /** Format: date-time */
            now: string;
            /** @description At least one agent's readings are simulated. */
            simulated: boolean;
            /** Format: date-time */
            started_at: string;
            /** @description Why the store does not take data; absent if it does. */
            store_error?: string | null;
            /** @description Callers need tokens. */
            tokens: boolean;
            /** Format: double */
            uptime_s: number;
            version: string;
        };
        /**
         * @description What a stored integer means.
         * @enum {string}
         */
        Unit: "bytes" | "count" | "seconds" | "socket_seconds" | "ratio";
        /** @description The verdict. */
        Verdict: {
            affected: components["schemas"]["Affected"][];
            class: components["schemas"]["Class"];
            /**
             * Format: double
             * @description 0..=1.
             */
            confidence: number;
            controls: components["schemas"]["Control"][];
            coverage: components["schemas"]["Coverage"];
            culprit: components["schemas"]["Culprit"];
            /**
             * Format: int64
             * @description Edges looked at.
             */
            edges: number;
            evidence: components["schemas"]["Evidence"][];
            /**
             * Format: date-time
             * @description The range that was looked at.
             */
            from: string;
            hypotheses: components["schemas"]["Hypothesis"][];
            /** Format: date-time */
            since?: string | null;
            /** @description One sentence for a person at 2 AM. */
            summary: string;
            /** Format: date-time */
            to: string;
            verdict: components["schemas"]["Answer"];
        };
        /** @description What an end of an edge was called at a moment, and who said so. */
        Why: {
            address: string;
            /** Format: date-time */
            at: string;
            /** @description Who ever said that he holds the address, as far as is remembered (a day): open ones first, then the newest; at most a hundred. */
            claims: components["schemas"]["Claim"][];
            claims_total: number;
            /** @description As rows of that moment have it. */
            name: components["schemas"]["EndDims"];
            /** @description False where several workloads share the address and the port tells none of them: `name` is then the node that holds it. */
            named: boolean;
            /** @description An agent held the address then, and reports what it sends and receives. */
            owned: boolean;
            /**
             * Format: int32
             * @description The port that was asked about: the one that the end serves.
             */
            port?: number | null;
            /** @description In a sentence: by what the name was found, or what to do to have one. */
            reason: string;
        };
        /** @description One workload, what it sends and what it gets. */
        WorkloadRow: {
            health: components["schemas"]["Health"];
            id: string;
            inbound: components["schemas"]["Flow"];
            namespace: string;
            outbound: components["schemas"]["Flow"];
            /** @description Workloads that it sends to or gets from. */
            peers: number;
            workload: string;
            zones: string[];
        };
        /** @description All workloads of a range, most bytes sent first. */
        WorkloadsAnswer: {
            coverage: components["schemas"]["Coverage"];
            /** Format: date-time */
            from: string;
            /** @description Pairs of ends, those with least bytes, that were left out where workloads and their peers are counted: 0 up to 50,000 pairs. */
            pairs_left_out: number;
            /** Format: date-time */
            to: string;
            workloads: components["schemas"]["WorkloadRow"][];
            /** @description Workloads before the limit. */
            workloads_total: number;
        };
    };
    responses: never;
    parameters: never;
    requestBodies: never;
    headers: never;
    pathItems: never;
}
export type $defs = Record<string, never>;
export type operations = Record<string, never>;
