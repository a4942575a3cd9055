//! What the scalar functions give, as SQL.

use datafusion::prelude::SessionContext;

fn session() -> SessionContext {
    let session = SessionContext::new();
    for function in millpond_functions::scalar_functions() {
        session.register_udf(function.as_ref().clone());
    }
    for function in millpond_functions::aggregate_functions() {
        session.register_udaf(function.as_ref().clone());
    }
    session
}

fn run(session: &SessionContext, sql: &str) -> Result<String, String> {
    let collected = futures(async { session.sql(sql).await?.collect().await });
    let batches = collected.map_err(|error| error.to_string())?;
    let batch = &batches[0];
    let column = batch.column(0);
    if column.is_null(0) {
        return Ok("NULL".to_string());
    }
    Ok(arrow::util::display::array_value_to_string(column, 0).unwrap())
}

fn futures<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// Each call with literals, and with columns of the same values.
#[test]
fn functions_follow_ksqldb() {
    let session = session();
    for (call, result) in [
        ("as_value(7)", "7"),
        ("ifnull(NULL, 'b')", "b"),
        ("ucase('é')", "É"),
        ("lcase('AB')", "ab"),
        ("elt(2, 'a', 'b')", "b"),
        ("elt(3, 'a', 'b')", "NULL"),
        ("elt(0, 'a', 'b')", "NULL"),
        ("elt(NULL, 'a')", "NULL"),
        ("field('b', 'a', 'b')", "2"),
        ("field('x', 'a', NULL)", "0"),
        ("field(NULL, NULL, 'b')", "0"),
        ("len('äb')", "2"),
        ("len(NULL)", "NULL"),
        ("len(X'0102')", "2"),
        ("instr('corporate floor', 'or')", "2"),
        ("instr('corporate floor', 'or', 3)", "5"),
        ("instr('corporate floor', 'or', 3, 2)", "14"),
        ("instr('corporate floor', 'or', -3)", "5"),
        ("instr('corporate floor', 'or', -3, 2)", "2"),
        ("instr('corporate floor', 'x')", "0"),
        ("instr('corporate floor', 'or', 99)", "0"),
        ("instr('abc', NULL)", "0"),
        ("instr('abc', 'b', NULL)", "NULL"),
        ("instr('äöü', 'ü')", "3"),
        ("split('a,,b', ',')", "[a, , b]"),
        ("split('äb', '')", "[ä, b]"),
        ("split(NULL, ',')", "NULL"),
        ("split(X'010002', X'00')", "[01, 02]"),
        ("mask('Ab 1é')", "Xx-nx"),
        ("mask('Ab1', NULL, 'y', '#', '-')", "Ay#"),
        ("mask_keep_left('Abc1', 2)", "Abxn"),
        ("mask_keep_right('Abc1', 2)", "Xxc1"),
        ("mask_left('Abc1', 2)", "Xxc1"),
        ("mask_right('Abc1', 2)", "Abxn"),
        ("mask_right(NULL, 2)", "NULL"),
        ("regexp_extract('b(.)', 'abcbd')", "bc"),
        ("regexp_extract('b(.)', 'abcbd', 1)", "c"),
        ("regexp_extract('b(.)', 'abcbd', 2)", "NULL"),
        ("regexp_extract('x', 'abc')", "NULL"),
        ("extractjsonfield('{\"a\": {\"b\": [1, \"x\"]}}', '$.a.b[1]')", "x"),
        ("extractjsonfield('{\"a\": {\"b\": [1, \"x\"]}}', '$.a')", "{\"b\":[1,\"x\"]}"),
        ("extractjsonfield('{\"a\": null}', '$.a')", "null"),
        ("extractjsonfield('{}', '$.a')", "NULL"),
        ("round(geo_distance(37.4133, -122.1162, 40.7128, -74.006))", "4118.0"),
        ("round(geo_distance(37.4133, -122.1162, 40.7128, -74.006, 'Miles'))", "2559.0"),
        ("geo_distance(NULL, 0, 0, 0)", "NULL"),
        ("format_timestamp(from_unixtime(1372932000123), 'yyyy-MM-dd HH:mm:ss.SSS')", "2013-07-04 10:00:00.123"),
        ("format_timestamp(from_unixtime(1372932000123), 'HH:mm z', 'Europe/Berlin')", "12:00 CEST"),
        ("format_timestamp(NULL, 'yyyy')", "NULL"),
        ("unix_timestamp(parse_timestamp('2013-07-04 10', 'yyyy-MM-dd HH'))", "1372932000000"),
        ("unix_timestamp(parse_timestamp('2013-07-04 12', 'yyyy-MM-dd HH', 'Europe/Berlin'))", "1372932000000"),
        ("format_date(from_days(15890), 'EEEE d')", "Thursday 4"),
        ("unix_date(parse_date('20130704 and more', 'yyyyMMdd'))", "15890"),
        ("format_time(parse_time('3:07 pm', 'h:mm a'), 'HH:mm')", "15:07"),
    ] {
        assert_eq!(run(&session, &format!("SELECT {call}")).as_deref(), Ok(result), "{call}");
    }
}

#[test]
fn functions_fail_with_a_reason() {
    let session = session();
    for (call, reason) in [
        ("mask_left('a', -1)", "mask_left: the number of characters is negative"),
        ("mask('a', 'xx', 'x', 'x', 'x')", "mask: 'xx' is longer than one character"),
        ("regexp_extract('(', 'a')", "regexp_extract: regex parse error"),
        ("extractjsonfield('{', '$.a')", "extractjsonfield: invalid JSON"),
        ("extractjsonfield('{}', 'a')", "it must begin with '$'"),
        ("geo_distance(91, 0, 0, 0)", "geo_distance: a latitude is between -90 and 90"),
        ("geo_distance(1, 0, 0, 0, 'yards')", "'yards' is no unit of distance"),
        ("format_date(from_days(1), 'HH')", "format_date: 'HH' has fields of a time"),
        ("parse_timestamp('x', 'yyyy')", "parse_timestamp: cannot read 'x' as 'yyyy'"),
        ("parse_date('2013-07-04 10', 'yyyy-MM-dd HH')", "has a time of day"),
        ("parse_timestamp('2013', 'yyyy', 'Mars')", "unknown time zone 'Mars'"),
        ("len(1)", "function len does not accept parameters (Int64): it is called as len(text) or len(bytes)"),
        ("split('a')", "it is called as split(text, delimiter)"),
    ] {
        let error = run(&session, &format!("SELECT {call}")).unwrap_err();
        assert!(error.contains(reason), "{call}: {error}");
    }
}

#[test]
fn functions_work_on_columns() {
    let session = session();
    let sql = "SELECT array_agg(instr(a, b, n)) FROM (VALUES ('abab', 'b', 1), ('abab', 'b', 3), (NULL, 'b', 1)) AS t(a, b, n)";
    assert_eq!(run(&session, sql).as_deref(), Ok("[2, 4, 0]"));
    let sql = "SELECT topk(n, t, 2) FROM (VALUES (1, 'a'), (3, 'b'), (2, 'c')) AS v(n, t)";
    assert_eq!(run(&session, sql).as_deref(), Ok("[{sort_col: 3, col0: b}, {sort_col: 2, col0: c}]"));
    let sql = "SELECT latest_by_offset(n, 2, false) FROM (VALUES (1), (3), (NULL)) AS v(n)";
    assert_eq!(run(&session, sql).as_deref(), Ok("[3, ]"));
    let sql = "SELECT collect_list(DISTINCT n) FROM (VALUES (1)) AS v(n)";
    assert_eq!(run(&session, sql).as_deref(), Ok("[1]"));
    let sql = "SELECT stddev_sample(n) FROM (VALUES (1), (3)) AS v(n)";
    assert_eq!(run(&session, sql).as_deref(), Ok("1.4142135623730951"));
}
