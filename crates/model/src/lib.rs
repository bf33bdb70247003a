//! The field's words as types, the signal catalogue, the query type and the wire protocol. No I/O.
