<?php

/**
 * Today, under PHP-FPM only: the response ends, the script goes on.
 */

declare(strict_types=1);

require __DIR__ . '/../shop.php';

session_save_path(getenv('SHOP_FOLDER'));
session_id('visitor');
session_start();
echo "ordered\n";
fastcgi_finish_request();
echo "nobody sees this\n";
Shop\report(getenv('SHOP_FOLDER'), 'May');
