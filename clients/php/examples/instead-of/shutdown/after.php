<?php

/**
 * Ours: what takes a millisecond runs here, after the response; what takes long is the daemon's.
 */

declare(strict_types=1);

use Sidecar\Client;
use Sidecar\Deferred;

require __DIR__ . '/../shop.php';

$folder = getenv('SHOP_FOLDER');
ob_start(); // for mod_php and php -S, which have to be told how long the page is
Deferred::add(function () use ($folder): void {
    Shop\note($folder, 'one visit more');
    echo "nobody sees this\n";
});
(new Client(bootstrap: __DIR__ . '/../shop.php'))->submit('Shop\report', [$folder, 'May'], timeout: 120);
exit("ordered\n");
