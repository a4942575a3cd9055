-- Airlines and airports are tables; each flight is joined to the row that its key has at that time.
-- A row of a table joins what is not older than itself, so the tables get a time before the first flight.
CREATE TABLE airlines (carrier VARCHAR PRIMARY KEY, name VARCHAR, since TIMESTAMP)
  WITH (kafka_topic = 'airlines', partitions = 4, timestamp = 'since');
CREATE TABLE airports (faa VARCHAR PRIMARY KEY, name VARCHAR, lat DOUBLE, lon DOUBLE, alt DOUBLE, tz DOUBLE, dst VARCHAR, tzone VARCHAR, since TIMESTAMP)
  WITH (kafka_topic = 'airports', partitions = 4, timestamp = 'since');
\copy airlines FROM PROGRAM 'sed "1s/$/,since/;2,\$s/$/,2013-01-01/" examples/flights/airlines.csv' WITH (FORMAT csv, HEADER true, NULL 'NA')
\copy airports FROM PROGRAM 'sed "1s/$/,since/;2,\$s/$/,2013-01-01/" examples/flights/airports.csv' WITH (FORMAT csv, HEADER true, NULL 'NA')

CREATE STREAM flights (year INT, month INT, day INT, dep_time INT, sched_dep_time INT, dep_delay DOUBLE, arr_time INT, sched_arr_time INT,
  arr_delay DOUBLE, carrier VARCHAR, flight INT, tailnum VARCHAR, origin VARCHAR, dest VARCHAR, air_time DOUBLE, distance DOUBLE, hour INT,
  minute INT, time_hour TIMESTAMP) WITH (kafka_topic = 'flights', partitions = 4, timestamp = 'time_hour');

CREATE TABLE by_airline AS
  SELECT a.name AS airline, COUNT(*) AS flights FROM flights f JOIN airlines a ON f.carrier = a.carrier GROUP BY a.name;

-- Four airports of the Caribbean are not in the list: LEFT keeps their flights.
CREATE TABLE by_zone AS
  SELECT coalesce(p.tzone, 'unknown') AS zone, COUNT(*) AS flights FROM flights f LEFT JOIN airports p ON f.dest = p.faa GROUP BY coalesce(p.tzone, 'unknown');

\copy flights FROM PROGRAM 'xz -dc examples/flights/flights.csv.xz' WITH (FORMAT csv, HEADER true, NULL 'NA')
FLUSH;

SELECT * FROM by_airline ORDER BY flights DESC LIMIT 4;
SELECT * FROM by_zone ORDER BY flights DESC;
