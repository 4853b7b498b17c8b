<?php

/**
 * The end of the response, while the script goes on: the browser has its page, what comes after costs it nothing.
 *
 * The session is closed first, or the visitor's next request would wait for this one. Where the server has a function
 * for it (PHP-FPM, LiteSpeed, FrankenPHP) that is called. Under mod_php and `php -S` the page is given its length and
 * sent: the browser then has all of it, though the connection stays open until the script ends.
 */

declare(strict_types=1);

namespace Sidecar;

final class Response
{
    /** The server ended the response. */
    public const FINISHED = 'finished';
    /** All of the page was sent, with its length: the browser waits for nothing more. */
    public const SENT = 'sent';
    /** There is no response here (the command line), or what was to be said was said before. */
    public const NONE = 'none';
    /** Something was sent before, without its length: the browser waits for the end of the script. */
    public const OPEN = 'open';

    private static ?string $done = null;

    /** End the response, once, and say what could be done: FINISHED, SENT, OPEN or NONE. Later calls change nothing. */
    public static function finish(): string
    {
        return self::$done ??= self::end();
    }

    private static function end(): string
    {
        ignore_user_abort(true);
        if (function_exists('session_status') && session_status() === PHP_SESSION_ACTIVE) {
            session_write_close();
        }
        if (in_array(PHP_SAPI, ['cli', 'phpdbg', 'embed'], true)) {
            return self::NONE;
        }
        foreach (['fastcgi_finish_request', 'litespeed_finish_request', 'frankenphp_finish_request'] as $function) {
            if (function_exists($function)) {
                $function();
                return self::FINISHED;
            }
        }
        return self::send();
    }

    private static function send(): string
    {
        $begun = headers_sent();
        while (ob_get_level() > 1) {
            ob_end_flush(); // into the one around it, whatever its callback makes of it
        }
        $buffer = ob_get_status();
        $plain = $buffer === [] || $buffer['name'] === 'default output handler';
        $known = !$begun && $plain && !ini_get('zlib.output_compression'); // else it changes on its way out
        if ($known) {
            if (function_exists('apache_setenv')) { // mod_deflate and mod_brotli would take the length away
                apache_setenv('no-gzip', '1');
                apache_setenv('no-brotli', '1');
            }
            header('Connection: close');
            if (!in_array(http_response_code(), [204, 304], true)) { // they end with their head, and must not have one
                header('Content-Length: ' . (int) ob_get_length());
            }
        }
        if ($buffer !== []) {
            ob_end_flush();
        }
        flush();
        if (!$known) {
            return self::OPEN;
        }
        ob_start(static fn (): string => '', 4096); // the page has its length: what is said now is nobody's
        return self::SENT;
    }
}
