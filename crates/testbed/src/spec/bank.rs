//! A bank: other names, other shape (seven nodes, three zones of two and three nodes, a deeper call tree). A diagnosis that
//! has learnt the shop by heart fails here.

use super::{Spec, Tables};

pub(super) fn spec() -> Spec {
    BANK.spec()
}

const BANK: Tables = Tables {
    name: "other",
    namespace: "bank",
    rate_per_s: 200.0,
    zones: &[("hel1", &["atlas", "borealis"]), ("fsn1", &["castor", "draco", "elara"]), ("nbg1", &["fornax", "gemini"])],
    services: &[
        ("webapp", 8443, 2_000, 8_000, &["atlas", "castor", "gemini"]),
        ("mobile-gateway", 8088, 1_500, 3_000, &["borealis", "draco", "fornax"]),
        ("accounts", 9100, 1_500, 2_500, &["atlas", "elara"]),
        ("ledger", 9200, 1_000, 1_800, &["castor", "fornax"]),
        ("ledger-db", 5432, 300, 2_400, &["borealis", "gemini"]),
        ("payments", 9300, 3_000, 900, &["draco", "fornax"]),
        ("fraud-check", 9400, 4_000, 500, &["borealis", "elara"]),
        ("rates", 9500, 500, 700, &["castor", "gemini"]),
        ("statements", 9600, 3_000, 6_000, &["atlas", "draco"]),
        ("customers", 0, 0, 0, &["borealis", "elara", "gemini"]),
    ],
    resolver: ("resolver", &["borealis", "draco"]),
    calls: &[
        ("customers", "webapp", 0.55, 1_500),
        ("customers", "mobile-gateway", 0.45, 1_000),
        ("webapp", "accounts", 0.9, 3_000),
        ("webapp", "rates", 0.5, 600),
        ("webapp", "statements", 0.25, 3_000),
        ("webapp", "payments", 0.25, 3_500),
        ("mobile-gateway", "accounts", 0.8, 900),
        ("mobile-gateway", "payments", 0.4, 3_000),
        ("mobile-gateway", "rates", 0.4, 600),
        ("accounts", "ledger", 0.7, 3_000),
        ("statements", "ledger", 1.0, 900),
        ("payments", "fraud-check", 1.0, 3_200),
        ("payments", "ledger", 1.0, 800),
        ("payments", "rates", 0.4, 3_000),
        ("ledger", "ledger-db", 1.0, 3_000),
        ("fraud-check", "ledger-db", 0.5, 900),
    ],
};
