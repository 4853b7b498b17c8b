<?php

declare(strict_types=1);

namespace App\Message;

/**
 * The slow work after an order, as data.
 */
final class SendReceipt
{
    public function __construct(public readonly int $order, public readonly string $email)
    {
    }
}
