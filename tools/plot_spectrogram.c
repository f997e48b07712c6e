#include "tools/plot_spectrogram.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

/* At up to 11 bytes a run, 480 by 80 cells are below 423 kB, were every cell a run of its own. */
enum { LEVELS = 16, MOST_COLS = 480, MOST_ROWS = 80 };

static const double RANGE_DB = 80.0;          /* below the loudest cell */
static const double DB_OF_NAT = 8.6858896381; /* 20 / ln 10 */
static const double NOTHING = -1e30;          /* in the place of what is no number */

/* ---- colours ---- */

/* Of level 0 (white) to LEVELS - 1 (nearly black): darker is louder. */
static void put_colour(FILE *out, int level)
{
    static const double stops[][3] = {
        {255, 255, 255}, {198, 219, 239}, {107, 174, 214}, {33, 113, 181}, {8, 29, 88}};
    enum { SPANS = sizeof stops / sizeof stops[0] - 1 };
    double at = (double)level * SPANS / (LEVELS - 1);
    int i = at < SPANS ? (int)at : SPANS - 1;
    fprintf(out, "#");
    for (int c = 0; c < 3; c++)
        fprintf(out, "%02x", (int)lround(stops[i][c] + (at - i) * (stops[i + 1][c] - stops[i][c])));
}

static void draw_scale(const sa2_svg_panel *p)
{
    double x = p->left + p->width + 10.0, step = p->height / LEVELS;
    for (int level = 0; level < LEVELS; level++) {
        fprintf(p->out, "<rect x='%.1f' y='%.1f' width='12' height='%.1f' fill='", x,
                p->top + p->height - step * (level + 1), step + 0.5);
        put_colour(p->out, level);
        fprintf(p->out, "'/>\n");
    }
    for (int db = 0; db >= -80; db -= 20) {
        char number[16];
        snprintf(number, sizeof number, db == 0 ? "0 dB" : "%d", db);
        sa2_svg_text(p->out, x + 16.0, p->top + p->height * -db / RANGE_DB + 4.0, "start",
                     "font-size='11' fill='#444'", number);
    }
}

/* ---- cells ---- */

typedef struct cells {
    int cols, rows;
    unsigned char *levels; /* [rows, cols], row 0 is the lowest */
} cells;

static float value_of(const sa2_plot *plot, int frame, int bin)
{
    float value = plot->mel[(size_t)frame * (size_t)plot->bins + (size_t)bin];
    return isfinite(value) ? value : (float)NOTHING;
}

/* Mean of the frames and bins that fall into a cell. */
static double mean_of(const sa2_plot *plot, const cells *c, int row, int col)
{
    int64_t frames = plot->n_frames, bins = plot->bins;
    int from = (int)(col * frames / c->cols), to = (int)((col + 1) * frames / c->cols);
    int low = (int)(row * bins / c->rows), high = (int)((row + 1) * bins / c->rows);
    double sum = 0.0;
    for (int t = from; t < to; t++)
        for (int b = low; b < high; b++)
            sum += (double)value_of(plot, t, b);
    return sum / ((double)(to - from) * (high - low));
}

static double loudest_of(const sa2_plot *plot)
{
    float most = (float)NOTHING;
    for (int t = 0; t < plot->n_frames; t++)
        for (int b = 0; b < plot->bins; b++)
            most = fmaxf(most, value_of(plot, t, b));
    return (double)most;
}

static sa2_status make_cells(cells *c, const sa2_plot *plot, sa2_error *err)
{
    c->cols = plot->n_frames < MOST_COLS ? plot->n_frames : MOST_COLS;
    c->rows = plot->bins < MOST_ROWS ? plot->bins : MOST_ROWS;
    c->levels = malloc((size_t)c->cols * (size_t)c->rows);
    if (c->levels == NULL)
        return sa2_fail(err, SA2_ERR_NOMEM, "plot: no memory for a spectrogram");
    double loudest = loudest_of(plot);
    for (int row = 0; row < c->rows; row++)
        for (int col = 0; col < c->cols; col++) {
            double below = (loudest - mean_of(plot, c, row, col)) * DB_OF_NAT / RANGE_DB;
            double level = loudest > (double)(float)NOTHING ? LEVELS * (1.0 - below) : 0.0;
            c->levels[(size_t)row * (size_t)c->cols + (size_t)col] =
                (unsigned char)fmin(fmax(level, 0.0), LEVELS - 1);
        }
    return SA2_OK;
}

/* One path for each colour, a line of width 1 for each run of it. Runs overlap a little and their places are absolute, so
 * that no rounding leaves a gap between them. */
static void draw_level(FILE *out, const cells *c, int level)
{
    bool begun = false;
    for (int row = 0; row < c->rows; row++) {
        const unsigned char *cell = c->levels + (size_t)row * (size_t)c->cols;
        for (int from = 0, to; from < c->cols; from = to) {
            for (to = from + 1; to < c->cols && cell[to] == cell[from];)
                to++;
            if (cell[from] != level)
                continue;
            if (!begun) {
                fprintf(out, "<path stroke='");
                put_colour(out, level);
                fprintf(out, "' d='");
                begun = true;
            }
            fprintf(out, to < c->cols ? "M%d %dh%d.1" : "M%d %dh%d", from, row, to - from);
        }
    }
    if (begun)
        fprintf(out, "'/>\n");
}

/* ---- the panel ---- */

/* Slaney's scale: linear below 1000 Hz, which is 15, logarithmic above. */
static double mel_of_hz(double hz)
{
    return hz < 1000.0 ? 3.0 * hz / 200.0 : 15.0 + 27.0 * log(hz / 1000.0) / log(6.4);
}

static void draw_axis(sa2_svg_panel *p, double top_hz)
{
    static const int marks[] = {250, 500, 1000, 2000, 4000, 8000, 16000};
    p->y_least = 0.0;
    p->y_most = mel_of_hz(top_hz);
    for (size_t i = 0; i < sizeof marks / sizeof marks[0] && marks[i] <= top_hz; i++) {
        char number[16];
        snprintf(number, sizeof number, "%d", marks[i]);
        sa2_svg_y_mark(p, mel_of_hz(marks[i]), number);
    }
}

sa2_status sa2_plot_spectrogram(sa2_svg_panel *p, const sa2_plot *plot, sa2_error *err)
{
    cells c = {0};
    sa2_status st = make_cells(&c, plot, err);
    if (st != SA2_OK)
        return st;
    double width = sa2_svg_x(p, plot->n_frames * plot->frame_s) - p->left;
    width = fmin(width, p->width);
    /* row r is a line at r + 1/2; the centre of bin b of n is at (b + 1) / (n + 1) of the scale */
    double bin = p->height / (plot->bins + 1), row = bin * plot->bins / c.rows;
    fprintf(p->out,
            "<g fill='none' stroke-width='1' shape-rendering='crispEdges' "
            "transform='translate(%.2f %.2f) scale(%.5f %.5f) translate(0 .5)'>\n",
            p->left, p->top + p->height - 0.5 * bin, width / c.cols, -row);
    for (int level = 1; level < LEVELS; level++)
        draw_level(p->out, &c, level);
    fprintf(p->out, "</g>\n");
    draw_axis(p, plot->top_hz);
    draw_scale(p);
    free(c.levels);
    return SA2_OK;
}
