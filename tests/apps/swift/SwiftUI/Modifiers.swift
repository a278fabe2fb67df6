extension View {
    public func padding(_ length: CGFloat? = nil) -> some View { self }

    public func font(_ font: Font?) -> some View { self }

    public func lineLimit(_ number: Int?) -> some View { self }

    public func scaledToFit() -> some View { self }

    public func aspectRatio(_ aspectRatio: CGFloat? = nil, contentMode: ContentMode) -> some View { self }

    public func aspectRatio(_ aspectRatio: CGSize, contentMode: ContentMode) -> some View { self }

    public func frame(maxWidth: CGFloat? = nil, maxHeight: CGFloat? = nil, alignment: Alignment = .center) -> some View { self }

    public func background<Style: ShapeStyle>(_ style: Style, in shape: RoundedRectangle) -> some View { self }

    public func buttonStyle<Style: PrimitiveButtonStyle>(_ style: Style) -> some View { self }

    public func onChange<Value: Equatable>(of value: Value, perform action: @escaping (Value) -> Void) -> some View { self }

    public func onChange<Value: Equatable>(
        of value: Value, initial: Bool = false, _ action: @escaping (Value, Value) -> Void
    ) -> some View { self }

    public func accessibilityAddTraits(_ traits: AccessibilityTraits) -> some View { self }

    public func accessibilityHidden(_ hidden: Bool) -> some View { self }

    public func accessibilityElement(children: AccessibilityChildBehavior) -> some View { self }

    public func accessibilityLabel(_ label: Text) -> some View { self }

    public func accessibilityLabel(_ labelKey: LocalizedStringKey) -> some View { self }

    public func accessibilityLabel<Label: StringProtocol>(_ label: Label) -> some View { self }

    public func accessibilityValue(_ value: Text) -> some View { self }
}
