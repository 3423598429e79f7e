-- Something to back up.
CREATE DATABASE IF NOT EXISTS shop;
CREATE TABLE IF NOT EXISTS shop.orders
(
    id UInt64,
    placed_at DateTime,
    amount Decimal(10, 2)
)
ENGINE = MergeTree ORDER BY id
AS SELECT number, toDateTime('2026-01-01 00:00:00', 'UTC') + number, number % 1000 FROM numbers(1000000);
