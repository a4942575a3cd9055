-- The quick start of the README: delays by airport and day.
CREATE STREAM flights (year INT, month INT, day INT, dep_time INT, sched_dep_time INT, dep_delay DOUBLE, arr_time INT, sched_arr_time INT,
  arr_delay DOUBLE, carrier VARCHAR, flight INT, tailnum VARCHAR, origin VARCHAR, dest VARCHAR, air_time DOUBLE, distance DOUBLE, hour INT,
  minute INT, time_hour TIMESTAMP) WITH (kafka_topic = 'flights', partitions = 4, timestamp = 'time_hour');

CREATE TABLE delays AS
  SELECT origin, COUNT(*) AS flights, COUNT(dep_delay) AS departed, AVG(dep_delay) AS mean_delay, MAX(dep_delay) AS worst
  FROM flights WINDOW TUMBLING (SIZE 1 DAY, GRACE PERIOD 1 DAY) GROUP BY origin EMIT CHANGES;

\copy flights FROM PROGRAM 'xz -dc examples/flights/flights.csv.xz' WITH (FORMAT csv, HEADER true, NULL 'NA')
FLUSH;

SELECT origin, flights, departed, round(mean_delay, 2) AS mean_delay, worst
FROM delays WHERE windowstart = '2013-07-04' ORDER BY origin;

SELECT origin, sum(flights) AS flights, sum(flights - departed) AS not_departed, max(worst) AS worst
FROM delays GROUP BY origin ORDER BY origin;

-- EWR's last day of the year.
SELECT flights, departed FROM delays WHERE origin = 'EWR' AND windowstart = '2013-12-31';
