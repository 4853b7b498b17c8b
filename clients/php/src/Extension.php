<?php

/**
 * ext-msgpack for large arrays, where it is loaded: some five times as fast as `Msgpack`.
 *
 * It packs without complaint what a job must not get: an object as a map of its properties, as text what is no text,
 * and keys as numbers. So every value is looked at first, and an array with anything in it that it would pack otherwise
 * than `Msgpack` does is left to that. It never unpacks: what it makes of a message is a matter of php.ini, down to
 * objects of a class that the message names.
 */

declare(strict_types=1);

namespace Sidecar;

final class Extension
{
    private static ?\MessagePack $packer = null;

    /**
     * Pack an array as `Msgpack` would; null: it has to be packed by that.
     *
     * @param array<int|string, mixed> $value
     */
    public static function packed(array $value, int $depth): ?string
    {
        if (!\extension_loaded('msgpack') || \ini_get('msgpack.force_f32')) {
            return null;
        }
        $texts = '';
        if (!self::isPlain($value, $depth, $texts) || \preg_match('//u', $texts) !== 1) {
            return null;
        }
        self::$packer ??= new \MessagePack(false); // not the functions: they heed msgpack.php_only
        return self::$packer->pack($value);
    }

    /**
     * Say whether both pack it to the same bytes if its texts, which are put behind `$texts`, are all UTF-8.
     *
     * @param array<int|string, mixed> $value
     */
    private static function isPlain(array $value, int $depth, string &$texts): bool
    {
        if ($depth <= 0) { // an array that contains itself, too
            return false;
        }
        $isList = \array_is_list($value);
        foreach ($value as $key => $item) {
            if (!$isList) {
                if (\is_int($key)) {
                    return false;
                }
                $texts .= "{$key}\0"; // so that no two halves of a character come together
            }
            if (\is_string($item)) {
                $texts .= "{$item}\0";
            } elseif (\is_array($item)) {
                if (!self::isPlain($item, $depth - 1, $texts)) {
                    return false;
                }
            } elseif (!\is_scalar($item) && $item !== null) {
                return false;
            }
        }
        return true;
    }
}
