-- Each day once, when it is over. Without a grace period a day is over when a record of the next one comes.
-- (A source that has been silent for idle_timeout closes its windows, too; here that is off, so that only event time counts.)
SET idle_timeout = 'off';
CREATE STREAM flights (year INT, month INT, day INT, dep_time INT, sched_dep_time INT, dep_delay DOUBLE, arr_time INT, sched_arr_time INT,
  arr_delay DOUBLE, carrier VARCHAR, flight INT, tailnum VARCHAR, origin VARCHAR, dest VARCHAR, air_time DOUBLE, distance DOUBLE, hour INT,
  minute INT, time_hour TIMESTAMP) WITH (kafka_topic = 'flights', partitions = 1, timestamp = 'time_hour');

CREATE TABLE days AS
  SELECT origin, COUNT(*) AS flights FROM flights WINDOW TUMBLING (SIZE 1 DAY) GROUP BY origin EMIT FINAL;

\copy flights FROM PROGRAM 'xz -dc examples/flights/flights.csv.xz' WITH (FORMAT csv, HEADER true, NULL 'NA')
FLUSH;

-- The last day (2014-01-01 in UTC) is not over.
SELECT count(*) AS days, sum(flights) AS flights, max(windowstart) AS latest FROM days;

INSERT INTO flights (origin, time_hour) VALUES ('JFK', '2014-01-02 00:00:00');
FLUSH;

SELECT count(*) AS days, sum(flights) AS flights, max(windowstart) AS latest FROM days;
