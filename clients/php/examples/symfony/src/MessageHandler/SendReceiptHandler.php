<?php

declare(strict_types=1);

namespace App\MessageHandler;

use App\Message\SendReceipt;
use Symfony\Component\Messenger\Attribute\AsMessageHandler;
use Symfony\Component\Messenger\Exception\UnrecoverableMessageHandlingException;

/**
 * The slow work itself. Nothing in it is about sidecar: it runs on any transport.
 */
#[AsMessageHandler]
final class SendReceiptHandler
{
    public function __construct(private readonly string $outbox)
    {
    }

    public function __invoke(SendReceipt $message): void
    {
        if (filter_var($message->email, FILTER_VALIDATE_EMAIL) === false) {
            throw new UnrecoverableMessageHandlingException("{$message->email} is no address"); // no other try helps
        }
        $mail = "To: {$message->email}\nYour order is number {$message->order}.\n";
        if (file_put_contents("{$this->outbox}/{$message->order}", $mail) === false) {
            throw new \RuntimeException('the outbox is away'); // tried again
        }
    }
}
