//! What `to_char` writes. The texts are those of a PostgreSQL 15.

use datafusion::prelude::SessionContext;

/// The first column of the only row, or why there is none.
fn run(sql: &str) -> Result<String, String> {
    let session = SessionContext::new();
    for function in millpond_functions::scalar_functions() {
        session.register_udf(function.as_ref().clone());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let collected = runtime.block_on(async { session.sql(sql).await?.collect().await });
    let batches = collected.map_err(|error| error.to_string())?;
    let column = batches[0].column(0);
    Ok(if column.is_null(0) { "NULL".to_string() } else { arrow::util::display::array_value_to_string(column, 0).unwrap() })
}

/// As a constant, and of columns.
fn check(value: &str, format: &str, expected: &str) {
    let constant = format!("SELECT to_char({value}, '{format}')");
    let columns = format!("SELECT to_char(v, f) FROM (VALUES ({value}, '{format}')) AS t(v, f)");
    for sql in [constant, columns] {
        assert_eq!(run(&sql).as_deref(), Ok(expected), "{sql}");
    }
}

#[test]
fn templates_are_postgresqls() {
    for (format, expected) in [
        ("YYYY-MM-DD HH24:MI:SS", "2021-01-03 00:05:09"),
        ("YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"", "2021-01-03T00:05:09.004Z"),
        ("yyyymmddhh24missus", "20210103000509004567"),
        ("YY YYY Y Y,YYY", "21 021 1 2,021"),
        ("MON Mon mon", "JAN Jan jan"),
        ("[MONTH] [Month] [month]", "[JANUARY  ] [January  ] [january  ]"),
        ("[FMMONTH] [FMMonth] [fmmonth] [TMMonth]", "[JANUARY] [January] [january] [January]"),
        ("DAY|Day|day|", "SUNDAY   |Sunday   |sunday   |"),
        ("FMDAY DY Dy dy", "SUNDAY SUN Sun sun"),
        ("DD DDD D ID", "03 003 1 7"),
        ("FMDD FMDDD FMMM FMHH24 FMMI FMSS", "3 3 1 0 5 9"),
        ("IYYY IYY IY I IW IDDD", "2020 020 20 0 53 371"),
        ("WW W Q CC J", "01 1 1 21 2459218"),
        ("HH HH12 HH24 AM A.M. pm p.m.", "12 12 00 AM A.M. am a.m."),
        ("FF1 FF2 FF3 FF4 FF5 FF6 MS US", "0 00 004 0045 00456 004567 004 004567"),
        ("SSSS SSSSS", "309 309"),
        ("AD a.d. BC", "AD a.d. AD"),
        ("RM|FMrm|", "I   |i|"),
        ("DDth FMDDTH MMth YYYYth HH12TH", "03rd 3RD 01st 2021st 12TH"),
        ("[TZ] TZH:TZM OF", "[] +00:00 +00"),
        ("\"YYYY is\" YYYY, \\\"quoted\\\" \"a \\\"b\\\" \\\\\"", "YYYY is 2021, \"1uote1\" a \"b\" \\"),
        ("\"no end DD", "no end DD"),
        ("Xyz Hh24 FF9 Th é", "X1z Hh24 FF9 Th é"),
        ("HH24hMIm", "00h05m"),
        ("FXYYYY DDSP", "2021 03"),
        ("FMFMDD TMTMDD", "FM03 TM03"),
        ("", "NULL"),
    ] {
        check("timestamp '2021-01-03 00:05:09.004567'", format, expected);
    }
    for (format, expected) in [
        ("MON Mon mon", "NOV Nov nov"),
        ("DAY|Day|day|", "TUESDAY  |Tuesday  |tuesday  |"),
        ("DD DDD D ID", "12 317 3 2"),
        ("IYYY IYY IY I IW IDDD", "2024 024 24 4 46 317"),
        ("HH HH12 HH24 AM A.M. pm p.m.", "01 01 13 PM P.M. pm p.m."),
        ("DDth FMDDTH MMth YYYYth HH12TH", "12th 12TH 11th 2024th 01ST"),
    ] {
        check("timestamp '2024-11-12 13:11:12.999'", format, expected);
    }
    check("date '2020-02-29'", "FMDay, DDth Mon YYYY HH24:MI", "Saturday, 29th Feb 2020 00:00");
    check("arrow_cast(-63517823999000, 'Timestamp(Millisecond, None)')", "FMDD Month YYYY BC, CC SS", "15 March     0044 BC, -01 01");
    check("arrow_cast(1625133600, 'Timestamp(Second, Some(\"Europe/Berlin\"))')", "HH24 TZ tz OF TZH:TZM", "12 CEST cest +02 +02:00");
    check("NULL", "YYYY", "NULL");
}

#[test]
fn times_of_day_and_intervals_have_no_date() {
    for (value, format, expected) in [
        ("time '15:04:05.678'", "HH24:MI:SS.MS", "15:04:05.678"),
        ("time '15:04'", "HH12:MI AM", "03:04 PM"),
        ("interval '1 day 2 hours 3 minutes 4 seconds'", "DD HH24:MI:SS", "01 02:03:04"),
        ("interval '-2 hours -3 minutes -4 seconds'", "HH24:MI:SS", "-02:-03:-04"),
        ("interval '3 years 4 months'", "YYYY-MM FMRM Q", "0003-04 IV 2"),
        ("interval '100 hours'", "HH24", "100"),
        ("timestamp '2020-01-05 10:00:00' - timestamp '2020-01-02 11:30:00'", "DD HH24:MI", "02 22:30"),
    ] {
        check(value, format, expected);
    }
    for format in ["DAY", "Mon", "D", "AD", "TZ", "OF", "IW", "J"] {
        for value in ["time '15:04'", "interval '1 day'"] {
            let error = run(&format!("SELECT to_char({value}, '{format}')")).unwrap_err();
            assert!(error.contains(&format!("to_char: a time or an interval has no {format}")), "{value} {format}: {error}");
        }
    }
}

#[test]
fn a_percent_sign_asks_for_strftime() {
    check("timestamp '2021-01-03 00:05:09.004567'", "%Y-%j %H:%M:%S%.3f", "2021-003 00:05:09.004");
    check("date '2021-01-03'", "%d %H", "03 00");
    check("timestamp '2021-01-02' - timestamp '2021-01-01'", "ISO8601", "PT86400S");
    // Each row by its own.
    let formats = "(VALUES (1, '%Y'), (2, 'YYYY!'), (3, NULL), (4, ''), (5, '%%'), (6, 'YYYY!')) AS t(n, f)";
    let sql = format!("SELECT array_agg(to_char(timestamp '2021-01-03', f) ORDER BY n) FROM {formats}");
    assert_eq!(run(&sql).as_deref(), Ok("[2021, 2021!, , , %, 2021!]"));
    let sql = "SELECT array_agg(to_char(v, 'DD') ORDER BY v) FROM (VALUES (date '2021-01-03'), (date '2021-01-04'), (NULL)) AS t(v)";
    assert_eq!(run(sql).as_deref(), Ok("[03, 04, ]"));
}

#[test]
fn numbers_are_refused_by_what_to_write_instead() {
    for number in ["123", "1.5", "1e3", "n"] {
        let error = run(&format!("SELECT to_char({number}, '999') FROM (VALUES (1)) AS t(n)")).unwrap_err();
        assert!(error.contains("to_char of a number is not supported: write CAST(number AS VARCHAR)"), "{number}: {error}");
    }
    assert!(run("SELECT to_char(true, 'YYYY')").unwrap_err().contains("to_char"));
    assert!(
        run("SELECT to_char(arrow_cast(9223372036854775807, 'Timestamp(Second, None)'), 'YYYY')").unwrap_err().contains("out of range")
    );
}
