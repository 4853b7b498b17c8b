<?php

/**
 * Ours: the object hands off what it was told, when it is told.
 */

declare(strict_types=1);

use Sidecar\Client;

require __DIR__ . '/../shop.php';

$reports = new class (getenv('SHOP_FOLDER')) {
    private readonly Client $client;

    public function __construct(private readonly string $folder)
    {
        $this->client = new Client(bootstrap: __DIR__ . '/../shop.php', timeout: 120);
    }

    public function order(string $month): void
    {
        $this->client->submit('Shop\report', [$this->folder, $month]);
    }
};
register_shutdown_function(function (): void {
    echo "in a shutdown function\n";
});
$reports->order('May');
exit("ordered\n");
