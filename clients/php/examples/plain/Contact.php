<?php

declare(strict_types=1);

namespace Shop;

use RuntimeException;

/**
 * What becomes of a message from the form.
 */
final class Contact
{
    private const TO = 'shop@example.org';

    /** Mail a message to the shop. A mail server that does not take it is an exception, and so another try later. */
    public static function mail(string $from, string $text): void
    {
        if (!mail(self::TO, 'A message from the form', $text, ['From' => self::TO, 'Reply-To' => $from])) {
            throw new RuntimeException("the mail server did not take the message of {$from}");
        }
    }
}
