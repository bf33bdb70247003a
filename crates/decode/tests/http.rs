//! What is kept of paths and hosts.

use edgescope_decode::HOST_BYTES_MAX;
use edgescope_decode::http::{PATH_BYTES_MAX, host, path_template};

#[test]
fn what_programmers_wrote_is_kept() {
    for path in [
        "/",
        "/cart",
        "/api/v1/users",
        "/api/v2.1/",
        "/shop.v1.CartService/GetItemsV2",
        "/grpc.health.v1.Health/Check",
        "/.well-known/openid-configuration",
        "/hipstershop.RecommendationService/ListRecommendations",
        "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
        "/apis/apps/v1beta1/namespaces",
        "/k8s/i18n/b2b/oauth2",
        "/static/app.js",
        "//double",
    ] {
        assert_eq!(path_template(path), path);
    }
}

#[test]
fn what_is_one_customers_is_not_kept() {
    for (path, template) in [
        ("/users/42", "/users/{}"),
        ("/users/42/orders/7d0c1f3a-0000-4b5e-9c00-1234567890ab", "/users/{}/orders/{}"),
        ("/blob/deadbeefcafe", "/blob/{}"),
        ("/x/vbeta1234/a1b2c3", "/x/{}/{}"),
        ("/x/XkQzPlMnBvTrWqLsDfGhJ", "/x/{}"),
        ("/v/dQw4w9WgXcQ", "/v/{}"),
        ("/report-2026-11-26.pdf", "/{}"),
        ("/mail/me@example.org", "/mail/{}"),
        ("/a%20b", "/{}"),
        ("/session;jsessionid=0123/x", "/session/x"),
        ("/search?q=secret", "/search"),
        ("/search#secret", "/search"),
        ("/?token=a/b", "/"),
        ("/bot123456:AAF-secret/getMe", "/{}/getMe"),
        ("/services/T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX", "/services/{}/{}/{}"),
        ("/é/x", "/{}/x"),
        ("http://me:secret@shop/cart/1?x", "/cart/{}"),
        ("http://shop", "/"),
        ("/redirect/http://shop/cart", "/redirect/{}//shop/cart"),
        ("*", "*"),
        ("shop:443", ""),
        ("", ""),
    ] {
        assert_eq!(path_template(path), template, "{path}");
    }
}

#[test]
fn depth_and_length_have_bounds() {
    assert_eq!(path_template(&"/a".repeat(8)), "/a".repeat(8));
    assert_eq!(path_template(&"/a".repeat(9)), format!("{}/*", "/a".repeat(8)));
    let words = format!("/{}", "word-word-word-word-word").repeat(7);
    let template = path_template(&words);
    assert!(template.len() <= PATH_BYTES_MAX && template.ends_with("/*"), "{template}");
    assert_eq!(path_template(&format!("/{}", "word-".repeat(17))), "/{}");
}

#[test]
fn a_host_has_no_port_and_no_credentials() {
    for (authority, name) in [
        ("shop", Some("shop")),
        ("Cart.Shop.SVC.", Some("cart.shop.svc")),
        ("cart_service:8080", Some("cart_service")),
        ("10.0.0.1:80", Some("10.0.0.1")),
        ("[fd00::1]:80", Some("fd00::1")),
        ("[fd00::1", None),
        ("me:secret@shop:80", Some("shop")),
        ("a b", None),
        ("<script>", None),
        ("", None),
        (":80", None),
        ("é", None),
    ] {
        assert_eq!(host(authority.as_bytes()).as_deref(), name, "{authority}");
    }
    assert_eq!(host(&[b'a'; HOST_BYTES_MAX]).map(|name| name.len()), Some(HOST_BYTES_MAX));
    assert_eq!(host(&[b'a'; HOST_BYTES_MAX + 1]), None);
    assert_eq!(host(b"a\xff"), None);
}
