<?php

/**
 * Today, on the command line only: a child for the report, while the parent goes on.
 */

declare(strict_types=1);

require __DIR__ . '/../shop.php';

$folder = getenv('SHOP_FOLDER');
register_shutdown_function(fn () => Shop\note($folder, 'shutdown function in ' . getmypid()));
ob_start();
echo "ordered\n";

$child = pcntl_fork();
if ($child === 0) {
    Shop\report($folder, 'May');
    exit(0);
}
