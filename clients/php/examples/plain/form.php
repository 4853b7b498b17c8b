<?php

/**
 * A form whose message is mailed. The visitor does not wait for the mail server, nor hears of it when that is away.
 */

declare(strict_types=1);

use Sidecar\Client;

require __DIR__ . '/bootstrap.php';

$says = isset($_GET['sent']) ? 'Thank you, we have your message.' : '';
if ($_SERVER['REQUEST_METHOD'] === 'POST') {
    $from = filter_input(INPUT_POST, 'email', FILTER_VALIDATE_EMAIL); // no line breaks: it goes into the mail's head
    $text = trim((string) filter_input(INPUT_POST, 'text'));
    if (is_string($from) && $text !== '') {
        $client = new Client(bootstrap: __DIR__ . '/bootstrap.php');
        $client->submit('Shop\Contact::mail', [$from, $text], timeout: 60, retries: 10);
        header('Location: form.php?sent', true, 303);
        exit;
    }
    http_response_code(422);
    $says = 'We need your address and a message.';
}

?>
<!doctype html>
<title>Write to us</title>
<p><?= $says ?></p>
<form method="post">
    <input type="email" name="email" placeholder="Your address">
    <textarea name="text"></textarea>
    <button>Send</button>
</form>
