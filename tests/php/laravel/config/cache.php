<?php

declare(strict_types=1);

return [
    'default' => 'file',
    'stores' => ['file' => ['driver' => 'file', 'path' => dirname(__DIR__) . '/storage/cache']],
    'prefix' => 'shop',
];
