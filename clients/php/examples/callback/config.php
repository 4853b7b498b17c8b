<?php

/**
 * Where the shop's database is, and the secret that the payment provider signs with.
 */

declare(strict_types=1);

return [
    'database' => getenv('SHOP_DATABASE') ?: 'sqlite:/var/lib/shop/shop.sqlite',
    'secret' => getenv('SHOP_SECRET') ?: throw new RuntimeException('SHOP_SECRET is not set'),
];
