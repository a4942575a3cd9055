//! Near misses: which word was probably meant.

/// The candidate that `word` is a typing slip away from. Both are compared without case; short words allow one slip, longer ones two.
pub(crate) fn miss<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word: Vec<char> = word.to_uppercase().chars().collect();
    // Nothing we know is longer; comparing whole paragraphs would only cost time.
    if word.len() < 3 || word.len() > 24 {
        return None;
    }
    let allowed = if word.len() <= 4 { 1 } else { 2 };
    candidates
        .into_iter()
        .map(|candidate| (distance(&word, &candidate.chars().collect::<Vec<_>>()), candidate))
        .filter(|(slips, _)| (1..=allowed).contains(slips))
        .min_by_key(|(slips, _)| *slips)
        .map(|(_, candidate)| candidate)
}

/// Edits between two words, where swapping two neighbours is one edit.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut rows = vec![vec![0usize; b.len() + 1]; a.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    for (j, cell) in rows[0].iter_mut().enumerate() {
        *cell = j;
    }
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replaced.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[a.len()][b.len()]
}

/// The words that begin a statement.
pub(crate) const STATEMENTS: &[&str] = &[
    "SELECT",
    "WITH",
    "VALUES",
    "CREATE",
    "INSERT",
    "COPY",
    "DELETE",
    "DROP",
    "TERMINATE",
    "PAUSE",
    "RESUME",
    "ALTER",
    "SHOW",
    "LIST",
    "DESCRIBE",
    "EXPLAIN",
    "PRINT",
    "SET",
    "UNSET",
    "RESET",
    "FLUSH",
    "BEGIN",
    "START",
    "COMMIT",
    "ROLLBACK",
    "DECLARE",
    "FETCH",
    "CLOSE",
    "DEALLOCATE",
    "DISCARD",
];

/// The words that begin or join the clauses of a statement.
pub(crate) const CLAUSES: &[&str] = &[
    "SELECT",
    "FROM",
    "WHERE",
    "GROUP",
    "HAVING",
    "ORDER",
    "LIMIT",
    "OFFSET",
    "WINDOW",
    "PARTITION",
    "EMIT",
    "CHANGES",
    "FINAL",
    "WITHIN",
    "JOIN",
    "INNER",
    "LEFT",
    "RIGHT",
    "FULL",
    "OUTER",
    "CROSS",
    "UNION",
    "EXCEPT",
    "INTERSECT",
    "TUMBLING",
    "HOPPING",
    "SESSION",
    "VALUES",
    "DISTINCT",
    "BETWEEN",
    "LIKE",
    "WITH",
    "STREAM",
    "TABLE",
    "PRIMARY",
    "GRACE",
    "PERIOD",
    "RETENTION",
    "ADVANCE",
    "INTO",
    "USING",
    "AND",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_typing_slips_only() {
        assert_eq!(miss("FORM", CLAUSES.iter().copied()), Some("FROM"));
        assert_eq!(miss("selct", STATEMENTS.iter().copied()), Some("SELECT"));
        assert_eq!(miss("tumblig", CLAUSES.iter().copied()), Some("TUMBLING"));
        assert_eq!(miss("orders", ["SELECT"]), None);
        assert_eq!(miss("select", ["SELECT"]), None);
        assert_eq!(miss("ab", ["AND"]), None);
    }
}
