<?php

/**
 * Ours: the job is forked by the daemon, from a process that has nothing of this one. In a page as on the command line.
 */

declare(strict_types=1);

use Sidecar\Client;

require __DIR__ . '/../shop.php';

$folder = getenv('SHOP_FOLDER');
register_shutdown_function(fn () => Shop\note($folder, 'shutdown function in ' . getmypid()));
ob_start();
echo "ordered\n";

(new Client(bootstrap: __DIR__ . '/../shop.php'))->submit('Shop\report', [$folder, 'May'], timeout: 120);
