<?php

/**
 * Plugin Name: sidecar
 * Description: Pages do not wait for mail, and due cron events are run by the sidecar daemon instead of by visitors.
 *
 * A file for wp-content/mu-plugins/; README.md says what else to copy. Whatever the daemon cannot take is done as
 * WordPress does it: a mail is sent by the page, due events are run when somebody visits.
 */

// phpcs:disable PSR1.Files.SideEffects -- WordPress loads one file of a must-use plugin: what it defines, and its hooks

declare(strict_types=1);

namespace SidecarWordPress;

use RuntimeException;
use Sidecar\Bytes;
use Sidecar\Client;
use Sidecar\Runtime;
use Throwable;

const ATTACHED = 2 * 1024 * 1024; // bytes of all files with a mail; more than that would be felt in the page's memory
const MAIL = [
    'queue' => 'wordpress-mail',
    'timeout' => 120,
    'retries' => 12,
    'backoff' => [10, 60, 300, 1800, 3600], // and so for eight hours
    'on_unavailable' => 'throw', // the spool keeps a mail until somebody starts the daemon: send it now instead
];
const CRON = ['queue' => 'wordpress-cron', 'timeout' => 3600];
const PATIENCE = 60; // seconds that an event is due before a visitor does something about it

if (!class_exists(Client::class)) {
    if (!is_file(__DIR__ . '/sidecar/autoload.php')) {
        add_action('admin_notices', static function (): void {
            echo '<div class="notice notice-error"><p>sidecar: copy its client to mu-plugins/sidecar/</p></div>';
        });
        return;
    }
    require __DIR__ . '/sidecar/autoload.php';
}
if (PHP_SAPI !== 'cli') { // in a job, or at a terminal, nobody waits for a page; nor does a job hand off its own mail
    add_filter('pre_wp_mail', handOffMail(...), PHP_INT_MAX, 2); // after all that may say that it is not to be sent
}
if (PHP_SAPI === 'cli' && wp_doing_cron()) {
    beginAlone();
}
remove_action('init', 'wp_cron');
add_action('wp_loaded', lookForOverdue(...), 20);
add_action('update_option_cron', handOffEvents(...), 10, 2);
add_action('shutdown', handOffRest(...));

/** Return a client whose jobs have this WordPress loaded: `client()->submit('my_function', [42])`. */
function client(): Client
{
    static $clients = [];
    $url = (wp_parse_url((string) get_option('home')) ?: []) + ['host' => 'localhost', 'path' => ''];
    $env = [ // what wp-config.php or a network of sites chooses by; the page's own would be whatever a visitor sends
        'HTTP_HOST' => $url['host'] . (isset($url['port']) ? ":{$url['port']}" : ''),
        'SERVER_NAME' => $url['host'],
        'REQUEST_URI' => rtrim($url['path'], '/') . '/',
    ];
    if (($url['scheme'] ?? '') === 'https') {
        $env['HTTPS'] = 'on';
    }
    // Stored: what the daemon refuses is an exception here, while the page can still do something.
    return $clients[get_current_blog_id()] ??= new Client(bootstrap: ABSPATH . 'wp-load.php', env: $env, ack: 'stored');
}

/** Answer wp_mail() for the page: true, the daemon has the mail; null, send it here. */
function handOffMail(mixed $answer, mixed $mail): mixed
{
    $isWhole = is_array($mail) && isset($mail['to'], $mail['subject'], $mail['message']); // what filters left of it
    if ($answer !== null || !$isWhole || !apply_filters('sidecar_mail', true, $mail)) {
        return $answer;
    }
    $mail += ['headers' => '', 'attachments' => []];
    try {
        $room = ATTACHED;
        foreach (array_intersect(['attachments', 'embeds'], array_keys($mail)) as $kind) {
            $mail[$kind] = packed($mail[$kind] ?: [], $room);
        }
        client()->submit('SidecarWordPress\sendMail', [$mail, filtered($mail['headers'])], ...MAIL);
        return true;
    } catch (Throwable $error) {
        error_log("sidecar: a mail is sent by the page: {$error->getMessage()}");
        return null;
    }
}

/**
 * Send a mail as the page would have; this is the job.
 *
 * @param array<string, mixed> $mail as wp_mail() takes it, but for its files
 * @param array<string, string> $filtered
 * @throws RuntimeException when the mail was not taken, and so another try later
 */
function sendMail(array $mail, array $filtered): void
{
    remove_all_filters('wp_mail'); // these two have had their say on the page
    remove_all_filters('pre_wp_mail');
    foreach ($filtered as $hook => $value) {
        remove_all_filters($hook);
        add_filter($hook, static fn (): string => $value);
    }
    $why = 'wp_mail() returned false';
    add_action('wp_mail_failed', static function (\WP_Error $error) use (&$why): void {
        $why = $error->get_error_message();
    });
    foreach (array_intersect(['attachments', 'embeds'], array_keys($mail)) as $kind) {
        $mail[$kind] = unpacked($mail[$kind]);
    }
    $more = isset($mail['embeds']) ? [$mail['embeds']] : []; // WordPress 6.9 began with these
    if (!wp_mail($mail['to'], $mail['subject'], $mail['message'], $mail['headers'], $mail['attachments'], ...$more)) {
        throw new RuntimeException($why);
    }
}

/**
 * Read files to go along with a job: many plugins delete what they have attached as soon as wp_mail() returns.
 *
 * @param string|array<int|string, string> $paths
 * @param int $room bytes that are left
 * @return list<array{int|string, string, Bytes}> key, name and contents of each
 */
function packed(string|array $paths, int &$room): array
{
    $packed = [];
    foreach (is_array($paths) ? $paths : explode("\n", str_replace("\r\n", "\n", $paths)) as $key => $path) {
        $room -= is_file($path) && is_readable($path) ? (int) filesize($path) : $room + 1;
        if ($room < 0) {
            throw new RuntimeException("{$path} is too large to go along, or cannot be read");
        }
        $packed[] = [$key, basename($path), new Bytes((string) file_get_contents($path))];
    }
    return $packed;
}

/**
 * Write the files out again, each in a folder of its own, under the name that the mail shows; they go with the job.
 *
 * @param list<array{int|string, string, string}> $packed
 * @return array<int|string, string> paths, by key
 */
function unpacked(array $packed): array
{
    $paths = [];
    foreach ($packed as [$key, $name, $contents]) {
        $folder = get_temp_dir() . 'sidecar-' . bin2hex(random_bytes(8));
        $path = $paths[$key] = "{$folder}/{$name}";
        if (!mkdir($folder, 0700) || file_put_contents($path, $contents) !== strlen($contents)) {
            throw new RuntimeException("cannot write {$path}");
        }
        register_shutdown_function(static fn (): bool => unlink($path) && rmdir($folder));
    }
    return $paths;
}

/**
 * Return what the page's filters make of a mail's sender, type and charset, by filter.
 *
 * Plugins (WooCommerce, for one) add these round a single wp_mail() and take them away after it: the job has none.
 *
 * @return array<string, string>
 */
function filtered(string|array $headers): array
{
    $given = [];
    foreach (is_array($headers) ? $headers : explode("\n", $headers) as $line) {
        [$name, $value] = explode(':', $line, 2) + [1 => ''];
        $given[strtolower(trim($name))] = trim($value);
    }
    preg_match('/^(?:([^<]*)<)?([^>]*)/', $given['from'] ?? '', $from);
    preg_match('/^([^;]*)(?:.*charset="?([^";]*))?/i', $given['content-type'] ?? '', $type);
    $host = preg_replace('/^www\./', '', (string) wp_parse_url(network_home_url(), PHP_URL_HOST));
    $filtered = [ // by default, as wp_mail() has them
        'wp_mail_from' => trim($from[2]) ?: "wordpress@{$host}",
        'wp_mail_from_name' => trim($from[1], ' "') ?: 'WordPress',
        'wp_mail_content_type' => trim($type[1]) ?: 'text/plain',
        'wp_mail_charset' => trim($type[2] ?? '') ?: get_bloginfo('charset'),
    ];
    foreach ($filtered as $hook => $value) {
        $filtered[$hook] = (string) apply_filters($hook, $value);
    }
    return array_filter($filtered, has_filter(...), ARRAY_FILTER_USE_KEY);
}

/**
 * Have the daemon run what is due at an instant (Unix seconds), by WordPress's own wp-cron.php with its lock; false:
 * nobody took it.
 */
function runEventsAt(int $instant, string $otherwise = 'spool', ?Client $client = null): bool
{
    try {
        $argv = [Runtime::interpreter(), ABSPATH . 'wp-cron.php'];
        ($client ?? client())->run($argv, ...CRON, run_at: $instant, on_unavailable: $otherwise);
        return true;
    } catch (Throwable $error) {
        error_log("sidecar: due events wait for a visitor: {$error->getMessage()}");
        return false;
    }
}

/** Hand off each instant at which there is an event now, and was none: of plugins, and of events that recur. */
function handOffEvents(mixed $before, mixed $after): void
{
    foreach (array_filter(array_keys(array_diff_key((array) $after, (array) $before)), is_int(...)) as $instant) {
        if ($instant > time()) {
            runEventsAt($instant);
        } else { // WordPress writes all its events as one: a run that begins now would undo what this page adds next
            $here = client(); // in a network, of the site that is switched to now
            add_action('shutdown', static fn (): bool => runEventsAt($instant, client: $here), PHP_INT_MAX);
        }
    }
}

/** Let runs of wp-cron.php begin one by one: WordPress's lock lets in all that look at it at once, as after a pause. */
function beginAlone(): void
{
    $door = fopen(get_temp_dir() . 'sidecar-' . md5(ABSPATH . get_current_blog_id()), 'c');
    if ($door !== false && flock($door, LOCK_EX)) {
        wp_cache_delete('alloptions', 'options'); // read before: what the one at the door has written is not in it
        add_action('set_transient_doing_cron', static fn (): bool => flock($door, LOCK_UN));
    }
}

/** When a run of wp-cron.php ends, see to events that became due meanwhile: their own run found it locked. */
function handOffRest(): void
{
    if (!wp_doing_cron()) {
        return;
    }
    wp_cache_delete('alloptions', 'options'); // the events are as they were when the run began
    $due = array_keys(wp_get_ready_cron_jobs());
    if ($due !== [] && !empty($GLOBALS['doing_wp_cron']) && max($due) >= $_SERVER['REQUEST_TIME']) {
        runEventsAt(time());
    } elseif ($due !== [] && isFirstThisMinute()) { // whoever has the lock does so; or died with it, and it has an end
        runEventsAt(time() + PATIENCE);
    }
}

/** When events are overdue on a visit (older than this plugin, or the daemon was away), do something about it. */
function lookForOverdue(): void
{
    $due = wp_doing_cron() ? [] : array_keys(wp_get_ready_cron_jobs());
    if ($due === [] || min($due) > time() - PATIENCE || !isFirstThisMinute() || runEventsAt(time(), 'throw')) {
        return;
    }
    if (!defined('DISABLE_WP_CRON') || !DISABLE_WP_CRON) {
        spawn_cron();
    }
}

/** Say whether nobody has asked for a minute. */
function isFirstThisMinute(): bool
{
    return get_transient('sidecar_cron') === false && set_transient('sidecar_cron', time(), PATIENCE);
}
