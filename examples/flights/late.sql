-- The flights as they were published: months 1, 10, 11, 12, 2, … With a grace of one day, what comes after December is late.
-- One partition, so that there is one order and the figures are the same every time.
CREATE STREAM flights (year INT, month INT, day INT, dep_time INT, sched_dep_time INT, dep_delay DOUBLE, arr_time INT, sched_arr_time INT,
  arr_delay DOUBLE, carrier VARCHAR, flight INT, tailnum VARCHAR, origin VARCHAR, dest VARCHAR, air_time DOUBLE, distance DOUBLE, hour INT,
  minute INT, time_hour TIMESTAMP) WITH (kafka_topic = 'flights', partitions = 1, timestamp = 'time_hour');

CREATE TABLE delays AS
  SELECT origin, COUNT(*) AS flights FROM flights WINDOW TUMBLING (SIZE 1 DAY, GRACE PERIOD 1 DAY) GROUP BY origin EMIT CHANGES;

\copy flights FROM PROGRAM 'xz -dc examples/flights/flights-unsorted.csv.xz' WITH (FORMAT csv, HEADER true, NULL 'NA')
FLUSH;

-- Nothing vanishes silently: each query counts what came too late …
SELECT id, late FROM millpond.queries;

-- … and the processing log has a line for each of the most recent ones.
SELECT DISTINCT query, kind FROM millpond.processing_log;

-- What is left is the months that came in order.
SELECT date_trunc('month', windowstart) AS month, sum(flights) AS flights FROM delays GROUP BY 1 ORDER BY 1;

-- The stream itself has lost nothing.
SELECT count(*) AS flights FROM flights;
