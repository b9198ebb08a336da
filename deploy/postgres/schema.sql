-- What shop.toml reads. Put a view of the same columns in the place of each table where the shop has tables of its own.
CREATE TABLE purchases (
    customer_id text NOT NULL,
    product_id text NOT NULL,
    bought_at timestamptz NOT NULL DEFAULT now(),
    quantity double precision NOT NULL DEFAULT 1
);
CREATE INDEX purchases_in_time ON purchases (bought_at);

CREATE TABLE products (
    product_id text PRIMARY KEY,
    name text,
    category text,
    brand text,
    price double precision,
    in_stock boolean NOT NULL DEFAULT true
);
