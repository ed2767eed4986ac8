// What a CPU does slowly in training, in one pass over bfloat16 each: group norm with SiLU, gated GELU, softmax.
// Pictures are channels-last, (n, cells, channels) in memory; channels come in sixteens, as many as a register holds.

#include <math.h>
#include <stdint.h>
#include <string.h>

typedef uint16_t bf16;

enum { LANES = 16, WIDEST = 1024 };

static inline float wide(bf16 value) {
    uint32_t bits = (uint32_t)value << 16;
    float result;
    memcpy(&result, &bits, 4);
    return result;
}

static inline bf16 narrow(float value) {
    uint32_t bits;
    memcpy(&bits, &value, 4);
    return (bf16)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

// That of the C library does not vectorise. Relative error below 1e-4, a fortieth of a step of bfloat16.
static inline float power_of_e(float x) {
    x = x > 80.f ? 80.f : x < -80.f ? -80.f : x;
    float twos = rintf(x * 1.44269504f), rest = x - twos * 0.69314718f;
    float series = 1.f + rest * (1.f + rest * (0.5f + rest * (0.16666667f + rest * 0.04166667f)));
    uint32_t bits = (uint32_t)((int32_t)twos + 127) << 23;
    float scale;
    memcpy(&scale, &bits, 4);
    return series * scale;
}

static inline float sigmoid(float x) { return 1.f / (1.f + power_of_e(-x)); }

// Abramowitz and Stegun 7.1.26.
static inline float error_function(float x) {
    float size = fabsf(x), t = 1.f / (1.f + 0.3275911f * size);
    float series = t * (0.254829592f + t * (-0.284496736f + t * (1.421413741f + t * (-1.453152027f + t * 1.061405429f))));
    return copysignf(1.f - series * power_of_e(-size * size), x);
}

// y = norm(x + add), through SiLU if `silu`. `add` is (n, channels) or null; `rstd` and `mean`, (n, channels), are kept
// for the way back.
void norm(const bf16 *x, const bf16 *add, const float *gamma, const float *beta, bf16 *y, float *rstd, float *mean,
          long n, long cells, long channels, long groups, float eps, int silu) {
    long size = channels / groups;
    float sums[WIDEST], squares[WIDEST];
    for (long i = 0; i < n; i++, x += cells * channels, y += cells * channels, rstd += channels, mean += channels) {
        const bf16 *more = add ? add + i * channels : 0;
        for (long c = 0; c < channels; c += LANES) {
            float sum[LANES] = {0}, square[LANES] = {0}, extra[LANES] = {0};
            if (more) for (int k = 0; k < LANES; k++) extra[k] = wide(more[c + k]);
            for (long p = c; p < cells * channels; p += channels)
                for (int k = 0; k < LANES; k++) {
                    float value = wide(x[p + k]) + extra[k];
                    sum[k] += value;
                    square[k] += value * value;
                }
            memcpy(sums + c, sum, sizeof sum);
            memcpy(squares + c, square, sizeof square);
        }
        for (long first = 0; first < channels; first += size) {
            double sum = 0, square = 0, count = (double)size * cells;
            for (long c = first; c < first + size; c++) sum += sums[c], square += squares[c];
            double middle = sum / count, variance = square / count - middle * middle;
            for (long c = first; c < first + size; c++) {
                rstd[c] = (float)(1 / sqrt((variance > 0 ? variance : 0) + eps));
                mean[c] = (float)middle;
            }
        }
        for (long c = 0; c < channels; c += LANES) {
            float scale[LANES], shift[LANES];
            for (int k = 0; k < LANES; k++) {
                scale[k] = rstd[c + k] * gamma[c + k];
                shift[k] = ((more ? wide(more[c + k]) : 0.f) - mean[c + k]) * scale[k] + beta[c + k];
            }
            for (long p = c; p < cells * channels; p += channels)
                for (int k = 0; k < LANES; k++) {
                    float value = wide(x[p + k]) * scale[k] + shift[k];
                    y[p + k] = narrow(silu ? value * sigmoid(value) : value);
                }
        }
    }
}

// From dy to dx, and to `dadd` (its sums over the cells) unless that is null; what comes to gamma and beta is added up.
void norm_back(const bf16 *x, const bf16 *add, const bf16 *dy, const float *gamma, const float *beta, const float *rstd,
               const float *mean, bf16 *dx, bf16 *dadd, float *dgamma, float *dbeta, long n, long cells, long channels,
               long groups, int silu) {
    long size = channels / groups, step = cells * channels;
    float sums[WIDEST], products[WIDEST];
    for (long i = 0; i < n; i++, x += step, dy += step, dx += step, rstd += channels, mean += channels) {
        const bf16 *more = add ? add + i * channels : 0;
        for (long c = 0; c < channels; c += LANES) {
            float scale[LANES], shift[LANES], middle[LANES], sum[LANES] = {0}, product[LANES] = {0};
            for (int k = 0; k < LANES; k++) {
                middle[k] = ((more ? wide(more[c + k]) : 0.f) - mean[c + k]) * rstd[c + k];
                scale[k] = rstd[c + k] * gamma[c + k];
                shift[k] = middle[k] * gamma[c + k] + beta[c + k];
            }
            for (long p = c; p < step; p += channels)
                for (int k = 0; k < LANES; k++) {
                    float value = wide(x[p + k]), slope = wide(dy[p + k]);
                    if (silu) {
                        float normed = value * scale[k] + shift[k], open = sigmoid(normed);
                        slope *= open * (1.f + normed * (1.f - open));
                    }
                    dx[p + k] = narrow(slope);
                    sum[k] += slope;
                    product[k] += slope * (value * rstd[c + k] + middle[k]);
                }
            for (int k = 0; k < LANES; k++) {
                dbeta[c + k] += sum[k];
                dgamma[c + k] += product[k];
                sums[c + k] = sum[k] * gamma[c + k];
                products[c + k] = product[k] * gamma[c + k];
            }
        }
        for (long first = 0; first < channels; first += size) {
            double sum = 0, product = 0, count = (double)size * cells;
            for (long c = first; c < first + size; c++) sum += sums[c], product += products[c];
            for (long c = first; c < first + size; c++) {
                sums[c] = (float)(sum / count);
                products[c] = (float)(product / count);
            }
        }
        for (long c = 0; c < channels; c += LANES) {
            float scale[LANES], tilt[LANES], level[LANES], sum[LANES] = {0};
            for (int k = 0; k < LANES; k++) {
                float r = rstd[c + k];
                scale[k] = r * gamma[c + k];
                tilt[k] = -r * r * products[c + k];
                level[k] = -r * sums[c + k] + ((more ? wide(more[c + k]) : 0.f) - mean[c + k]) * tilt[k];
            }
            for (long p = c; p < step; p += channels)
                for (int k = 0; k < LANES; k++) {
                    float slope = wide(dx[p + k]) * scale[k] + wide(x[p + k]) * tilt[k] + level[k];
                    sum[k] += slope;
                    dx[p + k] = narrow(slope);
                }
            if (dadd) for (int k = 0; k < LANES; k++) dadd[i * channels + c + k] = narrow(sum[k]);
        }
    }
}

// (rows, 2 width) → (rows, width): the first half times the GELU of the second.
void gate(const bf16 *x, bf16 *y, long rows, long width) {
    for (long i = 0; i < rows; i++, x += 2 * width, y += width)
        for (long c = 0; c < width; c++) {
            float value = wide(x[width + c]);
            y[c] = narrow(wide(x[c]) * 0.5f * value * (1.f + error_function(value * 0.70710678f)));
        }
}

void gate_back(const bf16 *x, const bf16 *dy, bf16 *dx, long rows, long width) {
    for (long i = 0; i < rows; i++, x += 2 * width, dx += 2 * width, dy += width)
        for (long c = 0; c < width; c++) {
            float value = wide(x[width + c]), slope = wide(dy[c]);
            float below = 0.5f * (1.f + error_function(value * 0.70710678f));
            float density = 0.39894228f * power_of_e(-0.5f * value * value);
            dx[c] = narrow(slope * value * below);
            dx[width + c] = narrow(slope * wide(x[c]) * (below + value * density));
        }
}

// Softmax of `scale` times each row, in place.
void soften(bf16 *x, long rows, long width, float scale) {
    float powers[WIDEST];
    for (long i = 0; i < rows; i++, x += width) {
        float top = -INFINITY, sum = 0;
        for (long c = 0; c < width; c++) top = fmaxf(top, wide(x[c]));
        for (long c = 0; c < width; c++) sum += powers[c] = power_of_e((wide(x[c]) - top) * scale);
        for (long c = 0; c < width; c++) x[c] = narrow(powers[c] / sum);
    }
}

// From the slopes of the softmax `y` to those of what it was taken of, in place.
void soften_back(const bf16 *y, bf16 *d, long rows, long width, float scale) {
    for (long i = 0; i < rows; i++, y += width, d += width) {
        float product = 0;
        for (long c = 0; c < width; c++) product += wide(y[c]) * wide(d[c]);
        for (long c = 0; c < width; c++) d[c] = narrow(scale * wide(y[c]) * (wide(d[c]) - product));
    }
}
