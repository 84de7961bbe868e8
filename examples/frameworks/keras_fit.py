import keras
import numpy as np

keras.utils.set_random_seed(0)
x = np.random.randn(512, 8).astype("float32")
y = x @ np.random.randn(8, 1).astype("float32")
model = keras.Sequential(
    [
        keras.Input((8,)),
        keras.layers.Dense(32, activation="tanh"),
        keras.layers.Dense(32, activation="tanh"),
        keras.layers.Dense(1),
    ]
)
model.compile(optimizer=keras.optimizers.Adam(3e-3), loss="mse")
model.fit(x, y, epochs=12, batch_size=32, verbose=0)
print(f"{sum(float(np.abs(w.astype('float64')).sum()) for w in model.get_weights()):.17g}")
