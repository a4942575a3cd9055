//! COPY in both directions.

use arrow::array::Array;
use arrow::buffer::Buffer;
use arrow::ipc::reader::{StreamDecoder, StreamReader};
use arrow::util::display::array_value_to_string;
use bytes::Bytes;
use futures::{SinkExt, TryStreamExt};
use tokio_postgres::Client;

use crate::server::{Server, rows, told};

async fn send(client: &Client, sql: &str, data: &str) -> Result<u64, tokio_postgres::Error> {
    let sink = client.copy_in(sql).await?;
    futures::pin_mut!(sink);
    // In pieces that cut lines anywhere.
    for piece in data.as_bytes().chunks(7) {
        sink.send(Bytes::copy_from_slice(piece)).await?;
    }
    sink.finish().await
}

async fn receive(client: &Client, sql: &str) -> String {
    let stream = client.copy_out(sql).await.unwrap();
    let pieces: Vec<Bytes> = stream.try_collect().await.unwrap();
    String::from_utf8(pieces.concat()).unwrap()
}

#[tokio::test]
async fn rows_go_in_and_come_out() {
    let server = Server::start();
    let client = server.connect().await;
    client
        .batch_execute("CREATE STREAM s (id INT KEY, name VARCHAR, at TIMESTAMP) WITH (kafka_topic = 's', partitions = 3)")
        .await
        .unwrap();
    let csv = "id,name,at\n1,\"a, b\",2013-07-04\n2,NA,NA\n3,\"NA\",2013-07-04 01:02:03\n";
    assert_eq!(send(&client, "COPY s FROM STDIN WITH (FORMAT csv, HEADER true, NULL 'NA')", csv).await.unwrap(), 3);
    assert_eq!(send(&client, "COPY s (name, id) FROM STDIN", "tab\\there\t4\n\\N\t5\n").await.unwrap(), 2);
    let out = receive(&client, "COPY (SELECT id, name, at FROM s ORDER BY id) TO STDOUT WITH (FORMAT csv, HEADER)").await;
    assert_eq!(out, "id,name,at\n1,\"a, b\",2013-07-04 00:00:00\n2,,\n3,NA,2013-07-04 01:02:03\n4,tab\there,\n5,,\n");
    let out = receive(&client, "COPY (SELECT id, name FROM s WHERE id >= 4 ORDER BY id) TO STDOUT").await;
    assert_eq!(out, "4\ttab\\there\n5\t\\N\n");
}

#[tokio::test]
async fn a_copy_with_an_error_leaves_nothing_and_names_the_place() {
    let server = Server::start();
    let client = server.connect().await;
    client.batch_execute("CREATE STREAM s (id INT KEY, dep_time INT) WITH (kafka_topic = 's', partitions = 1)").await.unwrap();
    let error = send(&client, "COPY s FROM STDIN WITH (FORMAT csv)", "1,2\n2,3\n3,abc\n4,5\n").await.unwrap_err();
    assert_eq!(told(&error).0, "22P02");
    assert_eq!(error.as_db_error().unwrap().where_(), Some("COPY s, line 3, column dep_time: \"abc\""));
    let error = send(&client, "COPY s FROM STDIN WITH (FORMAT csv)", "1,2\n2\n").await.unwrap_err();
    assert_eq!(told(&error), ("22P04".into(), "missing data for column \"dep_time\"".into(), String::new()));
    assert_eq!(error.as_db_error().unwrap().where_(), Some("COPY s, line 2"));
    assert_eq!(rows(&client, "SELECT count(*) FROM s").await, [["0"]]);
    assert_eq!(send(&client, "COPY s FROM STDIN WITH (FORMAT csv)", "1,2").await.unwrap(), 1);
}

#[tokio::test]
async fn nested_values_are_read_as_they_were_written() {
    let server = Server::start();
    let client = server.connect().await;
    let columns = "r STRUCT<p INT, q VARCHAR>, m MAP<VARCHAR, ARRAY<INT>>, a ARRAY<ARRAY<VARCHAR>>, s ARRAY<STRUCT<x DOUBLE, y BYTES>>";
    for name in ["a", "b", "c"] {
        client.batch_execute(&format!("CREATE STREAM {name} ({columns}) WITH (kafka_topic = '{name}', partitions = 1)")).await.unwrap();
    }
    let literals = [
        r#"'(1,"a ""quoted"", \\ one")', '{"k, {": [1, null], "": []}', '[["a,b", null], [], null]', '{"(1.5,\\\\x00ff)",NULL}'"#,
        r#"'{"q": "by name"}', '{}', '{{x},{"y\"z"}}', '{}'"#,
        "NULL, NULL, NULL, NULL",
    ];
    for literal in literals {
        client.batch_execute(&format!("INSERT INTO a VALUES ({literal})")).await.unwrap_or_else(|error| panic!("{literal}: {error:?}"));
    }
    let stored = rows(&client, "SELECT r, m, a, s FROM a").await;
    assert_eq!(stored.len(), 3);
    for (target, with) in [("b", ""), ("c", "WITH (FORMAT csv)")] {
        let written = receive(&client, &format!("COPY (SELECT r, m, a, s FROM a) TO STDOUT {with}")).await;
        assert_eq!(send(&client, &format!("COPY {target} FROM STDIN {with}"), &written).await.unwrap(), 3, "{written}");
        assert_eq!(rows(&client, &format!("SELECT r, m, a, s FROM {target}")).await, stored, "{written}");
    }
}

#[tokio::test]
async fn rows_come_out_as_an_arrow_stream() {
    let server = Server::start();
    let client = server.connect().await;
    client
        .batch_execute(
            "CREATE STREAM s (id INT KEY, name VARCHAR, price DECIMAL(6,2), tags ARRAY<VARCHAR>, at TIMESTAMP) \
             WITH (kafka_topic = 's', partitions = 1); \
             INSERT INTO s VALUES (1, 'a', 1.5, ARRAY['x', 'y'], '2013-07-04 01:02:03'), (2, NULL, NULL, NULL, NULL)",
        )
        .await
        .unwrap();
    let stream = client.copy_out("COPY (SELECT id, name, price, tags, at FROM s ORDER BY id) TO STDOUT (FORMAT arrow)").await.unwrap();
    let bytes: Vec<Bytes> = stream.try_collect().await.unwrap();
    let mut reader = StreamReader::try_new(std::io::Cursor::new(bytes.concat()), None).unwrap();
    let types: Vec<String> = reader.schema().fields().iter().map(|field| format!("{} {}", field.name(), field.data_type())).collect();
    assert_eq!(types, ["id Int32", "name Utf8", "price Decimal128(6, 2)", "tags List(Utf8)", "at Timestamp(ms)"]);
    let batch = reader.next().unwrap().unwrap();
    let value = |column: usize, row: usize| array_value_to_string(batch.column(column), row).unwrap();
    assert_eq!((0..5).map(|column| value(column, 0)).collect::<Vec<_>>(), ["1", "a", "1.50", "[x, y]", "2013-07-04T01:02:03"]);
    assert_eq!((value(0, 1), batch.num_rows()), ("2".to_string(), 2));
    assert!((1..5).all(|column| batch.column(column).is_null(1)) && reader.next().is_none());

    // No rows are a schema and an end.
    let stream = client.copy_out("COPY (SELECT id FROM s WHERE id > 2) TO STDOUT (FORMAT arrow)").await.unwrap();
    let bytes: Vec<Bytes> = stream.try_collect().await.unwrap();
    let mut reader = StreamReader::try_new(std::io::Cursor::new(bytes.concat()), None).unwrap();
    assert_eq!((reader.schema().field(0).name().as_str(), reader.next().is_none()), ("id", true));
    let error = client.copy_out("COPY s TO STDOUT (FORMAT parquet)").await.err().unwrap();
    assert_eq!(told(&error).2, "Formats are text, csv and, of what is copied TO STDOUT, arrow.");
}

#[tokio::test]
async fn changes_come_out_as_an_arrow_stream_as_they_come() {
    let server = Server::start();
    let (client, writer) = (server.connect().await, server.connect().await);
    writer
        .batch_execute("CREATE STREAM s (id INT KEY, v INT) WITH (kafka_topic = 's', partitions = 1); INSERT INTO s VALUES (0, 0)")
        .await
        .unwrap();
    client.batch_execute("SET auto.offset.reset = 'earliest'").await.unwrap();
    let stream = client.copy_out("COPY (SELECT id FROM s EMIT CHANGES) TO STDOUT (FORMAT arrow)").await.unwrap();
    futures::pin_mut!(stream);
    let mut decoder = StreamDecoder::new();
    for id in 0..3 {
        // The next is written when the one before has been read.
        let read = loop {
            let mut message = Buffer::from(stream.try_next().await.unwrap().unwrap());
            if let Some(batch) = decoder.decode(&mut message).unwrap() {
                break batch;
            }
        };
        assert_eq!((read.num_rows(), array_value_to_string(read.column(0), 0).unwrap()), (1, id.to_string()));
        writer.batch_execute(&format!("INSERT INTO s VALUES ({}, 0)", id + 1)).await.unwrap();
    }
}
