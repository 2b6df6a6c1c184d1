/* As much of a board as the sketch names, so that a computer can compile it.
 * Declarations only: nothing here runs. */
#ifndef SHIM_ARDUINO_H
#define SHIM_ARDUINO_H

#include <stdint.h>
#include <stdio.h>
#include <string.h>

typedef uint8_t byte;
static const uint8_t A0 = 14;

unsigned long millis();
unsigned long micros();
void delay(unsigned long milliseconds);
int analogRead(uint8_t pin);
long random(long end);
void randomSeed(unsigned long seed);

struct HardwareSerial {
    void begin(unsigned long baud);
    size_t print(const char *text);
    size_t print(unsigned long number);
    size_t print(uint32_t number);
    size_t println();
};
extern HardwareSerial Serial;

struct Client {
    int connect(const char *host, uint16_t port);
    size_t print(const char *text);
    int available();
    int read();
    void stop();
    uint8_t connected();
};

#endif
