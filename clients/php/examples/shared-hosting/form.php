<?php

/**
 * A form that takes an address. The reader is welcomed by the next tick, within a minute; nobody waits for that here.
 */

declare(strict_types=1);

use Sidecar\Client;

require __DIR__ . '/bootstrap.php';

$says = isset($_GET['sent']) ? 'Thank you, you will hear from us.' : '';
if ($_SERVER['REQUEST_METHOD'] === 'POST') {
    $address = filter_input(INPUT_POST, 'email', FILTER_VALIDATE_EMAIL);
    if (is_string($address)) {
        $config = require __DIR__ . '/config.php';
        $client = new Client(runtimeDir: $config['state'], bootstrap: __DIR__ . '/bootstrap.php');
        $client->submit('Site\Newsletter::welcome', [$address], timeout: 30, retries: 10);
        header('Location: form.php?sent', true, 303);
        exit;
    }
    http_response_code(422);
    $says = 'That is no address.';
}

?>
<!doctype html>
<title>Our newsletter</title>
<p><?= $says ?></p>
<form method="post">
    <input type="email" name="email" placeholder="Your address">
    <button>Subscribe</button>
</form>
