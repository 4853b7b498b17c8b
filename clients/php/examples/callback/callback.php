<?php

/**
 * The page that a payment provider posts to. It wants a 200 at once, and repeats its callback until it gets one.
 */

declare(strict_types=1);

use Sidecar\Client;

require __DIR__ . '/bootstrap.php';

$config = require __DIR__ . '/config.php';
$body = (string) file_get_contents('php://input');
$signature = hash_hmac('sha256', $body, $config['secret']);
if (!hash_equals($signature, $_SERVER['HTTP_X_SIGNATURE'] ?? '')) {
    http_response_code(403);
    exit("the signature is not ours\n");
}
$payment = json_decode($body, true);
if (!is_string($payment['id'] ?? null) || !is_int($payment['order'] ?? null) || !is_int($payment['cents'] ?? null)) {
    http_response_code(422);
    exit("a payment has id, order and cents\n");
}

$client = new Client(bootstrap: __DIR__ . '/bootstrap.php');
$client->submit('Shop\Payment::received', [$config['database'], $payment], timeout: 60, retries: 8);

echo "ok\n";
