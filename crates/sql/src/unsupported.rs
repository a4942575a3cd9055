//! What PostgreSQL and ksqlDB have and we do not: refused by name, with what to write instead.

use crate::Error;
use crate::cursor::Cursor;

const STATEMENTS: &[(&str, &str)] = &[
    ("UPDATE", "INSERT INTO a table replaces the row that has its key; a table made by a query changes with its sources."),
    ("MERGE", "INSERT INTO a table replaces the row that has its key."),
    ("UPSERT", "INSERT INTO a table replaces the row that has its key."),
    ("REPLACE", "INSERT INTO a table replaces the row that has its key."),
    ("TRUNCATE", "Write DELETE FROM table WHERE key = value, or DROP … DELETE TOPIC and create it again."),
    ("ALTER", "Write CREATE OR REPLACE … with the columns or the query as they should be; settings are changed with SET."),
    ("GRANT", "There are no privileges: whoever can connect can do everything."),
    ("REVOKE", "There are no privileges: whoever can connect can do everything."),
    ("PREPARE", "Prepare statements through the driver (the extended protocol)."),
    ("EXECUTE", "Execute prepared statements through the driver (the extended protocol)."),
    ("LOCK", "Reads see one committed state and take no locks."),
    ("LISTEN", "Write SELECT … FROM stream EMIT CHANGES to be told of new rows."),
    ("NOTIFY", "Write INSERT INTO stream, and SELECT … FROM stream EMIT CHANGES to be told of it."),
    ("UNLISTEN", "A query with EMIT CHANGES ends when it is cancelled."),
    ("SAVEPOINT", "A transaction is committed or rolled back as a whole."),
    ("RELEASE", "A transaction is committed or rolled back as a whole."),
    ("VACUUM", "The store cleans up by itself."),
    ("ANALYZE", "There are no statistics to collect. EXPLAIN shows how a statement is planned."),
    ("ANALYSE", "There are no statistics to collect. EXPLAIN shows how a statement is planned."),
    ("REINDEX", "There are no indexes: a table is ordered by its primary key."),
    ("CLUSTER", "A table is ordered by its primary key."),
    ("CHECKPOINT", "Commits happen at the commit interval; FLUSH waits for all that was written so far."),
    ("REFRESH", "CREATE TABLE … AS SELECT keeps its result up to date by itself."),
    ("COMMENT", "Keep comments with the statement's text: DESCRIBE shows it."),
    ("CALL", "There are no procedures."),
    ("DO", "There are no procedures."),
    ("MOVE", "A cursor only goes forward: FETCH the rows to skip."),
    ("DEFINE", "Set variables in the client: \\set in psql."),
    ("UNDEFINE", "Set variables in the client: \\set in psql."),
    ("ASSERT", "Compare the result of a SELECT in the client."),
    ("RUN", "Run scripts with the client: \\i in psql."),
    ("SPOOL", "Save output with the client: \\o in psql."),
    ("USE", "There is one database."),
    ("LOAD", "Write COPY … FROM STDIN, or \\copy in psql."),
    ("IMPORT", "Write CREATE STREAM … WITH (kafka_topic = '…')."),
    ("SECURITY", "There are no security labels."),
    ("REASSIGN", "There are no owners."),
];

const OBJECTS: &[(&str, &str)] = &[
    ("VIEW", "CREATE TABLE … AS SELECT keeps a result up to date; CREATE STREAM … AS SELECT transforms a stream."),
    ("MATERIALIZED", "CREATE TABLE … AS SELECT keeps its result up to date by itself."),
    ("INDEX", "A table is looked up by its primary key: for another key write CREATE TABLE … AS SELECT … GROUP BY that key."),
    ("UNIQUE", "A table is looked up by its primary key: for another key write CREATE TABLE … AS SELECT … GROUP BY that key."),
    ("TEMP", "Every stream and table is kept: leave the word out, and DROP it when it is not needed any more."),
    ("TEMPORARY", "Every stream and table is kept: leave the word out, and DROP it when it is not needed any more."),
    ("UNLOGGED", "Leave the word out."),
    ("GLOBAL", "Leave the word out."),
    ("LOCAL", "Leave the word out."),
    ("EXTERNAL", "Write CREATE STREAM or CREATE TABLE … WITH (kafka_topic = '…')."),
    ("FOREIGN", "Write CREATE STREAM or CREATE TABLE … WITH (kafka_topic = '…')."),
    ("TYPE", "Write the type out at each column: STRUCT<name type, …>."),
    ("DOMAIN", "Write the type out at each column."),
    ("SEQUENCE", "Let the client make the keys."),
    ("CONNECTOR", "Run connectors in Kafka Connect, and declare their topics with CREATE STREAM or CREATE TABLE."),
    ("SINK", "Run connectors in Kafka Connect, and declare their topics with CREATE STREAM or CREATE TABLE."),
    ("FUNCTION", "Write the expression out, or put it into a stream of its own (CREATE STREAM … AS SELECT)."),
    ("AGGREGATE", "Combine the aggregates that there are: SHOW FUNCTIONS."),
    ("PROCEDURE", "There are no procedures."),
    ("TRIGGER", "Write CREATE STREAM … AS SELECT … WHERE: it reacts to each new row."),
    ("RULE", "Write CREATE STREAM … AS SELECT … WHERE: it reacts to each new row."),
    ("SCHEMA", "All streams and tables are in the schema \"public\"."),
    ("DATABASE", "There is one database: run another server with a data directory of its own."),
    ("TABLESPACE", "Everything is in the server's data directory."),
    ("ROLE", "There are no roles: whoever can connect can do everything."),
    ("USER", "There are no roles: whoever can connect can do everything."),
    ("GROUP", "There are no roles: whoever can connect can do everything."),
    ("POLICY", "There are no roles: whoever can connect can do everything."),
    ("EXTENSION", "What there is, is built in: SHOW FUNCTIONS."),
    ("LANGUAGE", "What there is, is built in: SHOW FUNCTIONS."),
    ("OPERATOR", "What there is, is built in: SHOW FUNCTIONS."),
    ("CAST", "What there is, is built in: SHOW FUNCTIONS."),
    ("COLLATION", "Text is ordered by its code points."),
    ("PUBLICATION", "Clients read changes with SELECT … EMIT CHANGES."),
    ("SUBSCRIPTION", "Clients read changes with SELECT … EMIT CHANGES."),
    ("SERVER", "Write CREATE STREAM or CREATE TABLE … WITH (kafka_topic = '…')."),
    ("STATISTICS", "There are no statistics to collect."),
];

const CONSTRAINTS: &[(&str, &str)] = &[
    ("NOT", "Filter in the query that reads it: WHERE column IS NOT NULL."),
    ("NULL", "Every column but a table's primary key can be NULL: leave it out."),
    ("DEFAULT", "Write COALESCE(column, value) in the query that reads it."),
    ("UNIQUE", "A table has one row for each PRIMARY KEY."),
    ("CHECK", "Filter in the query that reads it: WHERE condition."),
    ("REFERENCES", "Join on the column in the query that reads it."),
    ("FOREIGN", "Join on the column in the query that reads it."),
    ("EXCLUDE", "A table has one row for each PRIMARY KEY."),
    ("LIKE", "Write the columns out."),
    ("GENERATED", "Compute the column in the query that reads it."),
    ("COLLATE", "Text is ordered by its code points."),
];

fn find<'a>(table: &'a [(&'a str, &'a str)], cursor: &Cursor, ahead: usize) -> Option<&'a (&'a str, &'a str)> {
    let word = cursor.word(ahead)?;
    table.iter().find(|(name, _)| word.value.eq_ignore_ascii_case(name))
}

/// Refuses statements that exist elsewhere; nothing is wrong with others.
pub(crate) fn statement(cursor: &Cursor) -> Result<(), Error> {
    match find(STATEMENTS, cursor, 0) {
        Some((name, hint)) => Err(cursor.unsupported(name).hint(*hint)),
        None => Ok(()),
    }
}

pub(crate) fn create(cursor: &Cursor) -> Result<(), Error> {
    object(cursor, "CREATE", if cursor.sees(&["CREATE", "OR", "REPLACE"]) { 3 } else { 1 })
}

pub(crate) fn drop(cursor: &Cursor) -> Result<(), Error> {
    object(cursor, "DROP", 1)
}

fn object(cursor: &Cursor, verb: &str, ahead: usize) -> Result<(), Error> {
    let source_connector = cursor.word(ahead).is_some_and(|word| word.value.eq_ignore_ascii_case("SOURCE"));
    let found = find(OBJECTS, cursor, ahead).or_else(|| {
        // CREATE SOURCE CONNECTOR: the others that can stand after SOURCE are ours.
        find(OBJECTS, cursor, ahead + 1).filter(|(name, _)| source_connector && *name == "CONNECTOR")
    });
    match found {
        Some((name, hint)) => {
            let view = if *name == "MATERIALIZED" { " VIEW" } else { "" };
            Err(cursor.unsupported(format!("{verb} {name}{view}")).hint(*hint))
        }
        None => Ok(()),
    }
}

/// Refuses what can stand after a column's type.
pub(crate) fn column_constraint(cursor: &Cursor) -> Result<(), Error> {
    match find(CONSTRAINTS, cursor, 0) {
        Some((name, hint)) => Err(cursor.unsupported(constraint(name)).hint(*hint)),
        None => Ok(()),
    }
}

/// Refuses what can stand in the place of a column.
pub(crate) fn table_constraint(cursor: &Cursor) -> Result<(), Error> {
    match find(CONSTRAINTS, cursor, 0) {
        Some((name @ ("UNIQUE" | "CHECK" | "FOREIGN" | "EXCLUDE" | "LIKE"), hint)) => Err(cursor.unsupported(constraint(name)).hint(*hint)),
        _ => Ok(()),
    }
}

fn constraint(name: &str) -> String {
    match name {
        "NOT" => "NOT NULL".to_string(),
        "FOREIGN" => "FOREIGN KEY".to_string(),
        _ => name.to_string(),
    }
}
