<?php

declare(strict_types=1);

namespace Site;

use RuntimeException;

/**
 * What becomes of an address from the form.
 */
final class Newsletter
{
    private const FROM = 'news@example.org';

    /** Welcome a reader. A mail server that does not take the message is an exception, and so another try later. */
    public static function welcome(string $address): void
    {
        if (!mail($address, 'Welcome', 'You will hear from us once a month.', ['From' => self::FROM])) {
            throw new RuntimeException("the mail server did not take the message to {$address}");
        }
    }
}
