#include "tools/plot.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "loader/output_file.h"
#include "tools/plot_spectrogram.h"
#include "tools/svg.h"

enum { WIDTH = 1000, LEFT = 76, PANEL = 850, TOP = 62, GAP = 36, BOTTOM = 48 };

static const char note_style[] = "font-size='11' fill='#444'";

double sa2_plot_chunk_late(const sa2_plot_chunk *chunks, int i, int rate)
{
    double due = chunks[0].ready_s + (double)(chunks[i].first - chunks[0].first) / rate;
    return chunks[i].ready_s - due;
}

static float number_or_zero(float x)
{
    return isfinite(x) ? x : 0.0f;
}

/* ---- waveform ---- */

static double peak_of(const sa2_plot *plot)
{
    float peak = 0.0f;
    for (int64_t i = 0; i < plot->n_samples; i++)
        peak = fmaxf(peak, fabsf(number_or_zero(plot->samples[i])));
    return (double)peak;
}

/* The extremes of what falls into column `col`. */
static void extremes(const sa2_plot *plot, int col, int cols, double *least, double *most)
{
    int64_t from = col * plot->n_samples / cols, to = (col + 1) * plot->n_samples / cols;
    float low = number_or_zero(plot->samples[from]), high = low;
    for (int64_t i = from; i < to; i++) {
        low = fminf(low, number_or_zero(plot->samples[i]));
        high = fmaxf(high, number_or_zero(plot->samples[i]));
    }
    *least = (double)low;
    *most = (double)high;
}

/* An outline along the maxima and back along the minima. */
static sa2_status draw_waveform(sa2_svg_panel *p, const sa2_plot *plot, sa2_error *err)
{
    (void)err;
    int cols = plot->n_samples < PANEL ? (int)plot->n_samples : PANEL;
    double least, most, peak = peak_of(plot), limit = sa2_svg_step(fmax(peak, 0.01), 1);
    p->y_most = limit;
    p->y_least = -limit;
    sa2_svg_y_axis(p, limit / 2.0);
    fprintf(p->out, "<path fill='#1f4e79' stroke='#1f4e79' stroke-width='.6' d='M");
    for (int i = 0; i < 2 * cols; i++) {
        int col = i < cols ? i : 2 * cols - 1 - i;
        extremes(plot, col, cols, &least, &most);
        fprintf(p->out, "%.1f %.1f ", p->left + p->width * (col + 0.5) / cols,
                sa2_svg_y(p, i < cols ? most : least));
    }
    fprintf(p->out, "z'/>\n");
    return SA2_OK;
}

/* ---- fundamental frequency ---- */

static bool voiced(float f0)
{
    return isfinite(f0) && f0 > 0.0f;
}

static sa2_status draw_f0(sa2_svg_panel *p, const sa2_plot *plot, sa2_error *err)
{
    (void)err;
    enum { MOST_POINTS = 2 * PANEL };
    int stride = 1 + (plot->n_frames - 1) / MOST_POINTS;
    float most = 0.0f;
    for (int t = 0; t < plot->n_frames; t++)
        if (voiced(plot->f0[t]))
            most = fmaxf(most, plot->f0[t]);
    double top = most > 0.0f ? (double)most : 400.0, step = sa2_svg_step(top, 4);
    p->y_most = step * ceil(top / step);
    sa2_svg_y_axis(p, step);
    fprintf(p->out, "<path fill='none' stroke='#8a2f0b' stroke-width='1.8' stroke-linecap='round' "
                    "stroke-linejoin='round' d='M0 0");
    bool pen_down = false;
    for (int t = 0; t < plot->n_frames; t += stride) {
        double x = sa2_svg_x(p, (t + 0.5) * plot->frame_s);
        if (voiced(plot->f0[t])) {
            double y = sa2_svg_y(p, (double)plot->f0[t]);
            fprintf(p->out, "%s%.1f %.1f", pen_down ? "L" : "M", x, y);
            if (!pen_down)
                fprintf(p->out, "h.1"); /* a frame alone is a dot */
        }
        pen_down = voiced(plot->f0[t]);
    }
    fprintf(p->out, "'/>\n");
    return SA2_OK;
}

/* ---- chunks ---- */

static void describe_chunks(const sa2_plot *plot, char *text, size_t bytes)
{
    int n_late = 0;
    double worst = 0.0;
    for (int i = 0; i < plot->n_chunks; i++) {
        double late = sa2_plot_chunk_late(plot->chunks, i, plot->rate);
        n_late += late > 0.0;
        worst = fmax(worst, late);
    }
    int n = snprintf(text, bytes, "first sound after %.2f s, last after %.2f s; %d chunk%s, ",
                     plot->chunks[0].ready_s, plot->chunks[plot->n_chunks - 1].ready_s,
                     plot->n_chunks, plot->n_chunks == 1 ? "" : "s");
    if (n_late > 0)
        snprintf(text + n, bytes - (size_t)n, "%d too late, by up to %.2f s", n_late, worst);
    else
        snprintf(text + n, bytes - (size_t)n, "none too late");
}

/* One path of bars, of the chunks that are in time or of those that are late. */
static void draw_bars(const sa2_svg_panel *p, const sa2_plot *plot, bool late)
{
    enum { MOST_BARS = 2000 };
    int stride = 1 + (plot->n_chunks - 1) / MOST_BARS;
    fprintf(p->out, "<path fill='none' stroke='%s' stroke-width='4' d='M0 0",
            late ? "#c62828" : "#2e7d32");
    for (int i = 0; i < plot->n_chunks; i += stride) {
        const sa2_plot_chunk *c = &plot->chunks[i];
        if ((sa2_plot_chunk_late(plot->chunks, i, plot->rate) > 0.0) != late)
            continue;
        double from = sa2_svg_x(p, (double)c->first / plot->rate);
        double to = sa2_svg_x(p, (double)(c->first + c->n) / plot->rate);
        fprintf(p->out, "M%.1f %.1fH%.1f", from, sa2_svg_y(p, c->ready_s),
                fmax(to - 1.0, from + 1.0));
    }
    fprintf(p->out, "'/>\n");
}

/* A bar for each chunk: over the time it lasts in the sound, at the height of when it was ready. The line is when each
 * sample is played. */
static sa2_status draw_chunks(sa2_svg_panel *p, const sa2_plot *plot, sa2_error *err)
{
    (void)err;
    char text[160];
    double first = plot->chunks[0].ready_s, last = plot->chunks[plot->n_chunks - 1].ready_s;
    double played = first + p->x_most, most = fmax(fmax(last, played), 1e-3);
    double step = sa2_svg_step(most, 5);
    p->y_most = step * ceil(most / step);
    sa2_svg_y_axis(p, step);
    fprintf(p->out,
            "<path fill='none' stroke='#222' stroke-width='1.4' stroke-dasharray='6 3' "
            "d='M%.1f %.1fL%.1f %.1f'/>\n",
            sa2_svg_x(p, 0.0), sa2_svg_y(p, first), sa2_svg_x(p, p->x_most), sa2_svg_y(p, played));
    draw_bars(p, plot, false);
    draw_bars(p, plot, true);
    describe_chunks(plot, text, sizeof text);
    sa2_svg_text(p->out, p->left + p->width, p->top - 7.0, "end", note_style, text);
    return SA2_OK;
}

/* ---- the page ---- */

typedef struct panel_kind {
    int height;
    const char *title, *unit;
    sa2_status (*draw)(sa2_svg_panel *panel, const sa2_plot *plot, sa2_error *err);
} panel_kind;

static int choose_panels(panel_kind kinds[4], const sa2_plot *plot)
{
    int n = 0;
    bool frames = plot->n_frames > 0 && plot->bins > 0;
    kinds[n++] = (panel_kind){110, "Waveform", "of full scale", draw_waveform};
    if (plot->mel != NULL && frames)
        kinds[n++] =
            (panel_kind){210, "Log-mel spectrogram, below the loudest", "Hz", sa2_plot_spectrogram};
    if (plot->f0 != NULL && plot->n_frames > 0)
        kinds[n++] = (panel_kind){110, "Fundamental frequency (F0)", "Hz", draw_f0};
    if (plot->n_chunks > 0)
        kinds[n++] = (panel_kind){150, "Chunks (red: too late), playback (dashed)",
                                  "s since the start", draw_chunks};
    return n;
}

static sa2_status draw(FILE *out, const sa2_plot *plot, sa2_error *err)
{
    panel_kind kinds[4];
    char facts[96];
    int n = choose_panels(kinds, plot), height = TOP - GAP + BOTTOM;
    double seconds = (double)plot->n_samples / plot->rate, step = sa2_svg_step(seconds, 12);
    for (int i = 0; i < n; i++)
        height += GAP + kinds[i].height;
    sa2_svg_begin(out, WIDTH, height);
    sa2_svg_text(out, LEFT, 24.0, "start", "font-size='16' font-weight='bold' fill='#111'",
                 plot->title);
    snprintf(facts, sizeof facts, "%.2f s, %d Hz", seconds, plot->rate);
    sa2_svg_text(out, LEFT + PANEL, 24.0, "end", note_style, facts);
    sa2_status st = SA2_OK;
    double top = TOP;
    for (int i = 0; i < n && st == SA2_OK; i++) {
        sa2_svg_panel p = {.out = out,
                           .left = LEFT,
                           .top = top,
                           .width = PANEL,
                           .height = kinds[i].height,
                           .x_most = seconds};
        sa2_svg_title(&p, kinds[i].title, kinds[i].unit);
        st = kinds[i].draw(&p, plot, err);
        sa2_svg_x_axis(&p, step, i + 1 == n ? "time in the sound, s" : NULL);
        sa2_svg_frame(&p);
        top += kinds[i].height + GAP;
    }
    sa2_svg_end(out);
    return st;
}

sa2_status sa2_plot_write(const sa2_plot *plot, const char *path, sa2_error *err)
{
    char *text = NULL;
    size_t bytes = 0;
    if (plot->n_samples < 1)
        return sa2_fail(err, SA2_ERR_ARG, "plot %s: there is no sound", path);
    FILE *out = open_memstream(&text, &bytes);
    if (out == NULL)
        return sa2_fail(err, SA2_ERR_NOMEM, "plot %s: no memory", path);
    sa2_status st = draw(out, plot, err);
    bool failed = ferror(out) != 0;
    failed = fclose(out) != 0 || failed;
    if (st == SA2_OK && failed)
        st = sa2_fail(err, SA2_ERR_NOMEM, "plot %s: no memory", path);
    if (st == SA2_OK)
        st = sa2_write_whole_file(path, text, bytes, err);
    free(text);
    return st;
}
