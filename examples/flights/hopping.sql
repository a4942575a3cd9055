-- Windows of a day that begin every six hours: each flight counts in four of them.
CREATE STREAM flights (year INT, month INT, day INT, dep_time INT, sched_dep_time INT, dep_delay DOUBLE, arr_time INT, sched_arr_time INT,
  arr_delay DOUBLE, carrier VARCHAR, flight INT, tailnum VARCHAR, origin VARCHAR, dest VARCHAR, air_time DOUBLE, distance DOUBLE, hour INT,
  minute INT, time_hour TIMESTAMP) WITH (kafka_topic = 'flights', partitions = 4, timestamp = 'time_hour');

CREATE TABLE busy AS
  SELECT origin, COUNT(*) AS flights FROM flights WINDOW HOPPING (SIZE 1 DAY, ADVANCE BY 6 HOURS) GROUP BY origin;

\copy flights FROM PROGRAM 'xz -dc examples/flights/flights.csv.xz' WITH (FORMAT csv, HEADER true, NULL 'NA')
FLUSH;

SELECT windowstart, flights FROM busy
WHERE origin = 'JFK' AND windowstart >= '2013-07-04' AND windowstart < '2013-07-05' ORDER BY windowstart;
SELECT count(*) AS windows, sum(flights) AS flights FROM busy;
SELECT origin, windowstart, flights FROM busy ORDER BY flights DESC, windowstart DESC LIMIT 3;
