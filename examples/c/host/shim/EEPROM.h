/* See Arduino.h. */
#include "Arduino.h"

struct EEPROMClass {
    void begin(size_t size);
    uint8_t read(int address);
    void write(int address, uint8_t value);
    bool commit();
};
extern EEPROMClass EEPROM;
