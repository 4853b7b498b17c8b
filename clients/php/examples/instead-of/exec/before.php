<?php

/**
 * Today: a shell that puts a program into the background.
 */

declare(strict_types=1);

$folder = getenv('SHOP_FOLDER');
$month = $_GET['month'] ?? 'May';

echo "ordered\n";
exec('php ' . __DIR__ . '/report.php ' . escapeshellarg($folder) . ' ' . escapeshellarg($month) . ' >/dev/null 2>&1 &');
