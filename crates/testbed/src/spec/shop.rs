//! The Buttercup Games shop: six nodes in three zones.

use super::{Spec, Tables};

pub(super) fn spec() -> Spec {
    SHOP.spec()
}

const SHOP: Tables = Tables {
    name: "shop",
    namespace: "shop",
    rate_per_s: 200.0,
    zones: &[("us-east-1a", &["node-1", "node-2"]), ("us-east-1b", &["node-3", "node-4"]), ("us-east-1c", &["node-5", "node-6"])],
    // Ports stay out of 32768–60999: an ephemeral port is never taken for a service's.
    services: &[
        ("frontend", 8080, 2_000, 9_000, &["node-1", "node-3", "node-5"]),
        ("productcatalogservice", 3550, 1_000, 4_000, &["node-2", "node-3"]),
        ("currencyservice", 7000, 500, 600, &["node-1", "node-6"]),
        ("cartservice", 7070, 1_000, 1_500, &["node-2", "node-4"]),
        ("redis-cart", 6379, 200, 1_800, &["node-3", "node-6"]),
        ("recommendationservice", 8081, 3_000, 1_200, &["node-4", "node-5"]),
        ("adservice", 9555, 1_000, 1_600, &["node-1", "node-6"]),
        ("checkoutservice", 5050, 2_000, 1_500, &["node-2", "node-5"]),
        ("shippingservice", 7002, 1_000, 700, &["node-3", "node-5"]),
        ("paymentservice", 7001, 5_000, 600, &["node-4", "node-6"]),
        ("emailservice", 8025, 4_000, 400, &["node-1", "node-4"]),
        ("loadgenerator", 0, 0, 0, &["node-2", "node-4", "node-6"]),
    ],
    resolver: ("kube-dns", &["node-2", "node-5"]),
    // Every server gets requests of 3 kB or more from somebody, so that a slow reader's window can close.
    calls: &[
        ("loadgenerator", "frontend", 1.0, 1_200),
        ("frontend", "productcatalogservice", 0.7, 700),
        ("frontend", "currencyservice", 0.5, 600),
        ("frontend", "cartservice", 0.45, 3_000),
        ("frontend", "recommendationservice", 0.35, 3_200),
        ("frontend", "adservice", 0.4, 900),
        ("frontend", "shippingservice", 0.12, 3_000),
        ("frontend", "checkoutservice", 0.15, 4_000),
        ("recommendationservice", "productcatalogservice", 0.6, 3_000),
        ("recommendationservice", "adservice", 0.25, 3_000),
        ("cartservice", "redis-cart", 1.0, 3_000),
        ("adservice", "redis-cart", 0.2, 600),
        ("checkoutservice", "cartservice", 1.0, 800),
        ("checkoutservice", "productcatalogservice", 1.0, 800),
        ("checkoutservice", "currencyservice", 1.0, 3_000),
        ("checkoutservice", "shippingservice", 1.0, 3_000),
        ("checkoutservice", "paymentservice", 1.0, 3_000),
        ("checkoutservice", "emailservice", 1.0, 6_000),
        ("paymentservice", "currencyservice", 0.5, 600),
        ("shippingservice", "emailservice", 0.3, 3_000),
    ],
};
