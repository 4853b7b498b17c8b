<?php

/**
 * The queue that people make by hand: a table.
 */

declare(strict_types=1);

require __DIR__ . '/../shop.php';

$folder = getenv('SHOP_FOLDER');
$database = new PDO("sqlite:{$folder}/queue.sqlite", options: [PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION]);
$database->exec('CREATE TABLE IF NOT EXISTS queue (id INTEGER PRIMARY KEY, month TEXT, done INTEGER DEFAULT 0)');
