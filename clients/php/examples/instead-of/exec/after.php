<?php

/**
 * Ours: the same program as a list of words, run by the daemon, with a deadline, retries and a result.
 */

declare(strict_types=1);

use Sidecar\Client;

require __DIR__ . '/../shop.php';

$folder = getenv('SHOP_FOLDER');
$month = $_GET['month'] ?? 'May';

$job = (new Client())->run(['php', __DIR__ . '/report.php', $folder, $month], timeout: 120, retries: 3);
echo "ordered {$job->id}\n";
