//! ksqlDB's scalar and aggregate functions as DataFusion UDFs.
