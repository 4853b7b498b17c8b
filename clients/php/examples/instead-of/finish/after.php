<?php

/**
 * Ours: the script ends, the work goes on.
 */

declare(strict_types=1);

use Sidecar\Client;

require __DIR__ . '/../shop.php';

session_save_path(getenv('SHOP_FOLDER'));
session_id('visitor');
session_start();
echo "ordered\n";
(new Client(bootstrap: __DIR__ . '/../shop.php'))->submit('Shop\report', [getenv('SHOP_FOLDER'), 'May'], timeout: 120);
echo "and everybody sees this\n";
