<?php

/**
 * Today: work for later, in a shutdown function.
 */

declare(strict_types=1);

require __DIR__ . '/../shop.php';

$folder = getenv('SHOP_FOLDER');
register_shutdown_function(function () use ($folder): void {
    Shop\note($folder, 'one visit more');
    echo Shop\report($folder, 'May'), "\n";
});
exit("ordered\n");
