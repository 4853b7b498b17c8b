<?php

/**
 * Today: a row in a table, for the cron.
 */

declare(strict_types=1);

require __DIR__ . '/database.php';

$database->prepare('INSERT INTO queue (month) VALUES (?)')->execute(['May']);
echo "ordered\n";
