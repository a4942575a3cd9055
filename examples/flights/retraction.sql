-- A table over a table: as a plane flies more, it leaves its group and enters the next.
CREATE STREAM flights (year INT, month INT, day INT, dep_time INT, sched_dep_time INT, dep_delay DOUBLE, arr_time INT, sched_arr_time INT,
  arr_delay DOUBLE, carrier VARCHAR, flight INT, tailnum VARCHAR, origin VARCHAR, dest VARCHAR, air_time DOUBLE, distance DOUBLE, hour INT,
  minute INT, time_hour TIMESTAMP) WITH (kafka_topic = 'flights', partitions = 4, timestamp = 'time_hour');

CREATE TABLE planes AS
  SELECT tailnum, COUNT(*) AS flights FROM flights GROUP BY tailnum;

CREATE TABLE by_use AS
  SELECT flights / 100 AS hundreds, COUNT(*) AS planes, SUM(flights) AS flights FROM planes GROUP BY flights / 100;

\copy flights FROM PROGRAM 'xz -dc examples/flights/flights.csv.xz' WITH (FORMAT csv, HEADER true, NULL 'NA')
FLUSH;

SELECT hundreds, planes, flights FROM by_use ORDER BY hundreds;
