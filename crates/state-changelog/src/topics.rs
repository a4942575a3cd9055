//! Names.

use millpond_log::murmur2::murmur2;

/// The stores that share the offsets topic.
pub(crate) fn is_shared(store: &str) -> bool {
    store.ends_with("/positions") || store.ends_with("/$counters")
}

pub(crate) fn offsets(service_id: &str) -> String {
    format!("_millpond-{service_id}-offsets")
}

/// Kafka takes letters, digits, `.`, `_` and `-` only; where something else is replaced, a hash keeps names apart.
pub(crate) fn changelog(service_id: &str, store: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '-' };
    let name: String = store.chars().map(plain).collect();
    let other = store.chars().any(|c| c != '/' && plain(c) != c) || store.matches('/').count() > 1;
    let hash = if other { format!("-{:08x}", murmur2(store.as_bytes())) } else { String::new() };
    format!("_millpond-{service_id}-{name}{hash}-changelog")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain_and_apart() {
        assert_eq!(changelog("shop", "ctas_delays/aggregate"), "_millpond-shop-ctas_delays-aggregate-changelog");
        assert_eq!(changelog("shop", "table/DELAYS"), "_millpond-shop-table-DELAYS-changelog");
        let (one, two) = (changelog("shop", "table/a b"), changelog("shop", "table/a/b"));
        assert!(one != two && one.starts_with("_millpond-shop-table-a-b-") && !one.contains(' '), "{one} {two}");
        assert!(is_shared("q/0/positions") && is_shared("q/$counters") && !is_shared("q/positions-of"));
    }
}
