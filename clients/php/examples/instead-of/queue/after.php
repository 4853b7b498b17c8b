<?php

/**
 * Ours: no table, no cron; it begins at once. In a transaction: `prepare` it there, `send` it after the commit.
 */

declare(strict_types=1);

use Sidecar\Client;

require __DIR__ . '/../shop.php';

$client = new Client(bootstrap: __DIR__ . '/../shop.php');
$client->submit('Shop\report', [getenv('SHOP_FOLDER'), 'May'], timeout: 120, retries: 3, ack: 'stored');
echo "ordered\n";
