-- A session for each plane: flights with less than half a day (or just that) between one and the next.
CREATE STREAM flights (year INT, month INT, day INT, dep_time INT, sched_dep_time INT, dep_delay DOUBLE, arr_time INT, sched_arr_time INT,
  arr_delay DOUBLE, carrier VARCHAR, flight INT, tailnum VARCHAR, origin VARCHAR, dest VARCHAR, air_time DOUBLE, distance DOUBLE, hour INT,
  minute INT, time_hour TIMESTAMP) WITH (kafka_topic = 'flights', partitions = 4, timestamp = 'time_hour');

CREATE TABLE duties AS
  SELECT tailnum, COUNT(*) AS flights FROM flights WINDOW SESSION (12 HOURS) GROUP BY tailnum;

\copy flights FROM PROGRAM 'xz -dc examples/flights/flights.csv.xz' WITH (FORMAT csv, HEADER true, NULL 'NA')
FLUSH;

SELECT count(*) AS duties, count(DISTINCT tailnum) AS planes, sum(flights) AS flights FROM duties;
SELECT tailnum, flights, windowstart, windowend FROM duties ORDER BY flights DESC, windowstart LIMIT 4;
SELECT windowstart, windowend, flights FROM duties WHERE tailnum = 'N14228' AND windowstart < '2013-01-14' ORDER BY windowstart;
