<?php

declare(strict_types=1);

namespace Shop;

use PDO;

/**
 * The work behind the callback. It runs in a process of its own, with a connection of its own.
 */
final class Payment
{
    private const TABLES = <<<'SQL'
        CREATE TABLE IF NOT EXISTS payments (id TEXT PRIMARY KEY, order_id INTEGER NOT NULL, cents INTEGER NOT NULL);
        CREATE TABLE IF NOT EXISTS invoices (number INTEGER PRIMARY KEY, order_id INTEGER NOT NULL, made_by INTEGER);
        SQL;

    /**
     * Book a payment and make the invoice, once for each id, however often it is called and wherever it was cut off.
     *
     * @param array{id: string, order: int, cents: int} $payment
     */
    public static function received(string $database, array $payment): string
    {
        $shop = new PDO($database, options: [PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION]);
        $shop->exec('BEGIN IMMEDIATE'); // all or nothing: what is killed in between has done nothing, and is run again
        $shop->exec(self::TABLES);
        $book = $shop->prepare('INSERT INTO payments VALUES (?, ?, ?) ON CONFLICT DO NOTHING');
        $book->execute([$payment['id'], $payment['order'], $payment['cents']]);
        if ($book->rowCount() === 1) {
            $shop->prepare('INSERT INTO invoices (order_id, made_by) VALUES (?, ?)')
                ->execute([$payment['order'], getmypid()]);
        }
        $shop->exec('COMMIT');
        return $book->rowCount() === 1 ? 'booked' : 'seen before';
    }
}
