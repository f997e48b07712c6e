#include "tools/plot.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "loader/output_file.h"
#include "runtime/token2wav/token2wav.h"
#include "tokenizer/growing.h"
#include "tools/pitch.h"
#include "tools/plot_mel.h"

enum {
    RATE = SA2_SPEECH_RATE,
    LEFT = 70, /* where panels begin, room for the names of values */
    WIDTH = 900,
    COLUMNS = 300, /* of the spectrogram */
    WAVE_TOP = 50,
    WAVE_HEIGHT = 110,
    MEL_TOP = 202,
    MEL_HEIGHT = 160,
    PITCH_TOP = 404,
    PITCH_HEIGHT = 100,
    TIME_TOP = 556,
    BAR = 16,
    MAX_BARS = 40,
};

/* A picture being written. */
typedef struct canvas {
    sa2_bytes svg;
    const sa2_plot *plot;
    double seconds; /* the panels' width */
} canvas;

__attribute__((format(printf, 2, 3))) static void put(canvas *c, const char *format, ...)
{
    char line[512];
    va_list arguments;
    va_start(arguments, format);
    int n = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    if (n > 0)
        sa2_bytes_append(&c->svg, line, (size_t)n < sizeof line ? (size_t)n : sizeof line - 1);
}

/* Text with what XML reserves written otherwise; bytes that are no printable ASCII are left out. */
static void put_escaped(canvas *c, const char *text)
{
    for (; *text != '\0'; text++)
        if (*text == '<' || *text == '>' || *text == '&')
            put(c, "&#%d;", *text);
        else if (*text >= ' ' && *text <= '~')
            put(c, "%c", *text);
}

static void put_label(canvas *c, double x, double y, const char *anchor, const char *text)
{
    put(c, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">", x, y, anchor);
    put_escaped(c, text);
    put(c, "</text>\n");
}

/* A step of 1, 2 or 5 times a power of ten that gives about ten of them. */
static double nice_step(double range)
{
    double power = pow(10.0, floor(log10(range / 10.0))), part = range / 10.0 / power;
    return power * (part < 1.5 ? 1.0 : part < 3.5 ? 2.0 : part < 7.5 ? 5.0 : 10.0);
}

/* Frame, name above it, seconds below. */
static void put_panel(canvas *c, double top, double height, double seconds, const char *name)
{
    put(c,
        "<rect x=\"%d\" y=\"%.1f\" width=\"%d\" height=\"%.1f\" fill=\"none\" stroke=\"#888\"/>\n",
        LEFT, top, WIDTH, height);
    put_label(c, LEFT, top - 5.0, "start", name);
    double step = nice_step(seconds);
    for (int i = 0; i * step <= seconds * 1.0001; i++) {
        double x = LEFT + i * step / seconds * WIDTH;
        char text[32];
        put(c, "<path d=\"M%.1f %.1fv4\" stroke=\"#888\"/>\n", x, top + height);
        snprintf(text, sizeof text, i == 0 ? "0 s" : "%g", i * step);
        put_label(c, x, top + height + 15.0, "middle", text);
    }
}

/* ---- panels ---- */

static void put_wave(canvas *c)
{
    const sa2_plot *p = c->plot;
    put_panel(c, WAVE_TOP, WAVE_HEIGHT, c->seconds, "samples");
    put_label(c, LEFT - 6.0, WAVE_TOP + 10.0, "end", "1");
    put_label(c, LEFT - 6.0, WAVE_TOP + WAVE_HEIGHT, "end", "-1");
    double middle = WAVE_TOP + WAVE_HEIGHT / 2.0, half = WAVE_HEIGHT / 2.0;
    put(c, "<path stroke=\"#1f4e79\" d=\"");
    for (int x = 0; x < WIDTH; x++) {
        int64_t from = x * p->n / WIDTH, to = (x + 1) * p->n / WIDTH;
        float low = 0.0f, high = 0.0f;
        for (int64_t i = from; i < to; i++) {
            low = fminf(low, p->samples[i]);
            high = fmaxf(high, p->samples[i]);
        }
        double top = middle - fmin(high, 1.0) * half, bottom = middle - fmax(low, -1.0) * half;
        put(c, "M%d.5 %.1fV%.1f", LEFT + x, top - 0.3, bottom + 0.3);
    }
    put(c, "\"/>\n");
}

/* One path a level: runs of equal levels as rectangles, on a grid of columns and bins. */
static void put_cells(canvas *c, const uint8_t *levels)
{
    put(c, "<g transform=\"translate(%d %d) scale(%g %g)\" shape-rendering=\"crispEdges\">\n", LEFT,
        MEL_TOP + MEL_HEIGHT, (double)WIDTH / COLUMNS, -(double)MEL_HEIGHT / SA2_PLOT_BINS);
    for (int level = 1; level < SA2_PLOT_LEVELS; level++) {
        double dark = (double)level / (SA2_PLOT_LEVELS - 1);
        put(c, "<path fill=\"#%02x%02x%02x\" d=\"", (int)(250 - 242 * dark),
            (int)(252 - 204 * dark), (int)(255 - 148 * dark * dark));
        for (int b = 0; b < SA2_PLOT_BINS; b++)
            for (int x = 0, end; x < COLUMNS; x = end) {
                const uint8_t *row = levels + b * COLUMNS;
                for (end = x + 1; end < COLUMNS && row[end] == row[x]; end++)
                    continue;
                if (row[x] == level)
                    put(c, "M%d %dh%dv1h%dz", x, b, end - x, x - end);
            }
        put(c, "\"/>\n");
    }
    put(c, "</g>\n");
}

static sa2_status put_mel(canvas *c, sa2_error *err)
{
    uint8_t *levels = malloc(COLUMNS * SA2_PLOT_BINS);
    if (levels == NULL)
        return sa2_fail(err, SA2_ERR_NOMEM, "picture: no memory");
    sa2_status st = sa2_plot_mel(levels, COLUMNS, c->plot->samples, c->plot->n, err);
    if (st == SA2_OK) {
        put_cells(c, levels);
        put_panel(c, MEL_TOP, MEL_HEIGHT, c->seconds, "log-mel, 80 bins, 80 dB");
        put_label(c, LEFT - 6.0, MEL_TOP + 10.0, "end", "8 kHz");
        put_label(c, LEFT - 6.0, MEL_TOP + MEL_HEIGHT, "end", "0");
    }
    free(levels);
    return st;
}

static double pitch_y(double hz)
{
    double octaves = log2((double)SA2_PITCH_MOST_HZ / SA2_PITCH_LEAST_HZ);
    return PITCH_TOP + PITCH_HEIGHT * log2(SA2_PITCH_MOST_HZ / hz) / octaves;
}

static void put_pitch(canvas *c)
{
    static const int marks[] = {100, 200, 400};
    const sa2_plot *p = c->plot;
    put_panel(c, PITCH_TOP, PITCH_HEIGHT, c->seconds, "fundamental frequency");
    for (int i = 0; i < 3; i++) {
        char text[16];
        snprintf(text, sizeof text, "%d Hz", marks[i]);
        put(c, "<path d=\"M%d %.1fh%d\" stroke=\"#ddd\"/>\n", LEFT, pitch_y(marks[i]), WIDTH);
        put_label(c, LEFT - 6.0, pitch_y(marks[i]) + 4.0, "end", text);
    }
    put(c, "<path stroke=\"#b03a2e\" stroke-width=\"2.5\" stroke-linecap=\"round\" d=\"");
    for (int x = 0; x < WIDTH; x += 2) {
        float hz = sa2_pitch_at(p->samples, p->n, RATE, (2 * x + 1) * p->n / (2 * WIDTH));
        if (hz > 0.0f)
            put(c, "M%d %.1fh0", LEFT + x, pitch_y((double)hz));
    }
    put(c, "\"/>\n");
}

/* Playback starts when the first chunk is there; a chunk that comes later than its turn is red. */
static void put_chunks(canvas *c)
{
    const sa2_plot *p = c->plot;
    int n = p->n_chunks < MAX_BARS ? p->n_chunks : MAX_BARS;
    double start = p->chunks[0].ready, end = start + c->seconds;
    for (int i = 0; i < p->n_chunks; i++)
        end = fmax(end, p->chunks[i].ready);
    double scale = WIDTH / end, height = n * (BAR + 2.0) + 8.0;
    char name[160];
    snprintf(name, sizeof name,
             "chunks: there (dot), played (bar), from the question on; %d of %d shown", n,
             p->n_chunks);
    put_panel(c, TIME_TOP, height, end, name);
    for (int i = 0; i < n; i++) {
        const sa2_plot_chunk *k = &p->chunks[i];
        double turn = start + (double)k->first / RATE, length = (double)k->n / RATE;
        double y = TIME_TOP + 4.0 + i * (BAR + 2.0);
        bool late = k->ready > turn + 1e-6;
        char slack[48];
        put(c, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%d\" fill=\"%s\"/>\n",
            LEFT + turn * scale, y, length * scale, BAR, late ? "#e6b0aa" : "#a9cce3");
        put(c, "<path d=\"M%.1f %.1fH%.1f\" stroke=\"#bbb\"/>\n", LEFT + k->ready * scale,
            y + BAR / 2.0, LEFT + turn * scale);
        put(c, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3.5\" fill=\"%s\"/>\n", LEFT + k->ready * scale,
            y + BAR / 2.0, late ? "#b03a2e" : "#1f4e79");
        snprintf(slack, sizeof slack, "%+.0f ms", 1e3 * (turn - k->ready));
        put_label(c, LEFT - 6.0, y + BAR - 3.0, "end", slack);
    }
}

/* ---- the whole ---- */

static sa2_status draw(canvas *c, sa2_error *err)
{
    const sa2_plot *p = c->plot;
    int n = p->n_chunks < MAX_BARS ? p->n_chunks : MAX_BARS;
    double height = n > 0 ? TIME_TOP + n * (BAR + 2.0) + 40.0 : PITCH_TOP + PITCH_HEIGHT + 30.0;
    put(c,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %.0f\" width=\"%d\" "
        "height=\"%.0f\" font-family=\"sans-serif\" font-size=\"11\" fill=\"#222\">\n",
        LEFT + WIDTH + 30, height, LEFT + WIDTH + 30, height);
    put(c, "<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n");
    put(c, "<text x=\"%d\" y=\"22\" font-size=\"15\">", LEFT);
    put_escaped(c, p->title);
    put(c, "</text>\n");
    put_wave(c);
    sa2_status st = put_mel(c, err);
    if (st != SA2_OK)
        return st;
    put_pitch(c);
    if (p->n_chunks > 0)
        put_chunks(c);
    put(c, "</svg>\n");
    return sa2_bytes_status(&c->svg, err);
}

sa2_status sa2_plot_write(const char *path, const sa2_plot *plot, sa2_error *err)
{
    canvas c = {.plot = plot, .seconds = fmax((double)plot->n / RATE, 0.001)};
    sa2_status st = draw(&c, err);
    if (st == SA2_OK)
        st = sa2_write_whole_file(path, c.svg.data, c.svg.n, err);
    sa2_bytes_free(&c.svg);
    return st;
}
